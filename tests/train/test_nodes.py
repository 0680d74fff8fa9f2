"""A training over two "nodes": two torchrun agents that share the data and no other folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from losh.testing.tiny_training import ROOT

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {src!r})
from losh.errors import friendly
from losh.runtime.distributed import relaunch
if __name__ == "__main__":
    friendly(relaunch)(__file__, sys.argv[1:])
    from losh.testing.tiny_training import tiny_params
    from losh.train.training import train
    here, data = Path(sys.argv[1]), Path(sys.argv[2])
    params = tiny_params(mttr__dropout=0.1)
    friendly(train)(params, here / "model", here / "metrics", data, here / "scratch")
"""
CPU = {"LOSH_WORKERS": "0", "LOSH_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
QUICK = "keep_alive_interval=1,keep_alive_max_attempt=3,join_timeout=300"
"""Rendezvous settings: a lost agent is given up after three seconds."""
NODE = {"GLOO_SOCKET_IFNAME": "lo", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""As docs/cluster.md has it: with a shared store an agent that comes back waits for an address
that the others gave in an earlier round.
"""


class Node:
    """A working folder with its own copy of the training's command."""

    def __init__(self, folder: Path, data: Path, port: int) -> None:
        self.folder, self.data, self.port = folder, data, port
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT.format(src=str(ROOT / "src")))

    def start_agent(self) -> subprocess.Popen:
        options = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--local-addr=127.0.0.1"]
        options += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{self.port}"]
        options += [f"--rdzv-conf={QUICK}", "--rdzv-id=losh"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, "train.py"]
        return subprocess.Popen(
            [*command, str(self.folder), str(self.data)],
            cwd=self.folder,
            env={**os.environ, **CPU, **NODE, "LOSH_SAVE_EVERY": "0"},
            stdout=(self.folder / "log").open("a"),
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def weights(self, name: str = "last") -> dict[str, torch.Tensor]:
        return load_file(self.folder / "model" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Two processes of one machine, with one folder."""
    node = Node(tmp_path_factory.mktemp("undisturbed") / "node", tiny_data, 0)
    done = subprocess.run(
        [sys.executable, "train.py", str(node.folder), str(tiny_data)],
        cwd=node.folder,
        env={**os.environ, **CPU, "LOSH_PROCESSES": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return node


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers end with their agent on Linux alone")
def test_a_killed_node_comes_back_and_the_weights_are_those_of_an_undisturbed_training(
    undisturbed: Node, tiny_data: Path, tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = (Node(tmp_path / name, tiny_data, port) for name in ("first", "second"))
    agents = [first.start_agent()]
    deadline = time.monotonic() + 400
    while not listens(port):
        assert time.monotonic() < deadline and agents[0].poll() is None, first.log
        time.sleep(0.05)
    agents.append(second.start_agent())
    try:
        while not list(second.folder.glob("scratch/train/*/state.pt")):
            assert time.monotonic() < deadline and agents[1].poll() is None, second.log
            time.sleep(0.02)
        agents[1].send_signal(signal.SIGKILL)
        agents[1].wait()
        assert not (second.folder / "model").exists(), "it was killed in the middle"
        # Its disk is lost too: what it had is sent to it.
        for path in sorted(second.folder.glob("scratch/**/*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        agents.append(second.start_agent())
        for node, agent in ((first, agents[0]), (second, agents[2])):
            agent.wait(max(1.0, deadline - time.monotonic()))
            assert agent.returncode == 0, node.log
    finally:
        for agent in agents:
            agent.terminate()
            agent.wait(60)
    assert "stopped by signal 15; the state is saved" in first.log + second.log
    for node in (first, second):
        for name in ("last", "model"):
            ours, expected = node.weights(name), undisturbed.weights(name)
            assert ours.keys() == expected.keys()
            assert all(torch.equal(ours[key], expected[key]) for key in ours), (node, name)
        summary = (node.folder / "metrics" / "train.json").read_text()
        assert summary == (undisturbed.folder / "metrics" / "train.json").read_text()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
