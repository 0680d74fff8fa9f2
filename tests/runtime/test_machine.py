"""Freed memory is kept where malloc is glibc's: the second time, no page is faulted in anew."""

import os
import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from losh.runtime.machine import keep_freed_memory
import numpy as np
done = keep_freed_memory() if sys.argv[1] == "keep" else None
np.ones(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(4_000_000)  # 32 MB
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def probe(mode: str, **environment: str) -> tuple[str, int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROBE, mode]
    done = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    answer, faults = done.stdout.split()
    return answer, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has mallopt")
def test_kept_memory_is_not_faulted_in_again():
    plain, kept = probe("plain"), probe("keep")
    if kept[0] != "True":
        pytest.skip("malloc is not glibc's here")
    assert kept[1] * 5 < plain[1]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has mallopt")
def test_settings_of_the_environment_win():
    assert probe("keep", MALLOC_ARENA_MAX="2")[0] == "False"
