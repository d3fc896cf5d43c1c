"""CPU time is counted over whole trees of processes, the dead ones too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.procs import PROC, children, cpu_s, own_mb

BURN = "import time\nwhile time.process_time() < 0.2: pass"
BURN_BELOW = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint(flush=True)\ninput()"
HOLD = "held = b'x' * 50_000_000\nprint(flush=True)\ninput()"


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


@pytest.mark.skipif(not PROC.joinpath("self/stat").exists(), reason="this system has no /proc")
def test_memory_is_that_of_the_whole_tree_while_it_lives() -> None:
    before = own_mb(os.getpid())
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        during, below = own_mb(os.getpid()), children(os.getpid())
        process.communicate(b"\n")

    after = own_mb(os.getpid())
    assert before is not None
    assert during is not None
    assert after is not None
    assert process.pid in below
    assert during - before > 45
    assert during - after > 45


def test_a_process_that_is_not_known_has_no_time() -> None:
    assert cpu_s(None) is None
    assert own_mb(None) is None
