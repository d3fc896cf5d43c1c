"""CPU time is counted over whole trees of processes, the dead ones too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.procs import PROC, cpu_s

BURN = "import time\nwhile time.process_time() < 0.2: pass"
BURN_BELOW = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint(flush=True)\ninput()"


@pytest.mark.skipif(not PROC.joinpath("self/stat").exists(), reason="this system has no /proc")
def test_the_time_of_a_dead_grandchild_counts_for_its_tree() -> None:
    parent = cpu_s(os.getpid())
    with subprocess.Popen([sys.executable, "-c", BURN_BELOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        child, ours = cpu_s(process.pid), cpu_s(os.getpid())
        process.communicate(b"\n")

    assert child is not None
    assert parent is not None
    assert ours is not None
    assert child > 0.15
    assert ours - parent > 0.15


def test_a_process_that_is_not_known_has_no_time() -> None:
    assert cpu_s(None) is None
