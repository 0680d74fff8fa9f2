"""Freed memory is kept where malloc is glibc's: the second time, no page is faulted in anew."""

import os
import subprocess
import sys

import pytest

PROBE = """
import sys
from losh.runtime.machine import keep_freed_memory
from runtime.items_of_workers import faults_of
done = keep_freed_memory(dict([sys.argv[2].split("=")])) if sys.argv[1] == "keep" else None
print(done, faults_of(20))
"""


def probe(mode: str, unchosen: str = "NONE=", **environment: str) -> tuple[str, int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROBE, mode, unchosen]
    clean["PYTHONPATH"] = os.pathsep.join(sys.path)
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


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has mallopt")
def test_what_a_library_sets_is_no_choice_of_the_users():
    done = probe("keep")[0]
    assert probe("keep", "MALLOC_ARENA_MAX=2", MALLOC_ARENA_MAX="2")[0] == done
    assert probe("keep", "MALLOC_ARENA_MAX=2", MALLOC_ARENA_MAX="3")[0] == "False"
