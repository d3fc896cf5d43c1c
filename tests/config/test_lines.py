"""Log lines on a real pipe: nobody waits long for a reader, and no line is glued to the rest of another."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from config.runtime import metrics
from config.runtime.lines import Output


@dataclass
class Pipe:
    """Standard output as a pipe; `read` takes what is in it."""

    reader: int

    def read(self) -> bytes:
        pieces = []
        while True:
            try:
                pieces.append(os.read(self.reader, 1 << 20))
            except BlockingIOError:
                return b"".join(pieces)


@contextmanager
def piped() -> Iterator[Pipe]:
    """Make standard output a pipe, inside of the test: pytest puts its own back between fixtures and test."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    kept = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    pipe = Pipe(reader)
    try:
        yield pipe
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(pipe.reader)


@pytest.fixture
def output() -> Output:
    output = Output()
    output.role = "web"
    return output


def line(number: int, length: int) -> bytes:
    return json.dumps({"n": number, "text": "x" * length}).encode() + b"\n"


def dropped() -> float:
    return float(metrics.LOG_LINES_DROPPED._value.get())


def fill(output: Output, lines: bytes) -> int:
    """Write until a line is dropped; return how many writes were taken whole."""
    before, writes = dropped(), 0
    while dropped() == before:
        output.write(lines)
        writes += 1
    return writes - 1


@pytest.mark.parametrize("length", [100, 4000, 9000, 70_000])
def test_a_pipe_that_nobody_reads_costs_a_moment_once_and_whole_lines(output: Output, length: int):
    with piped() as pipe:
        taken = fill(output, line(0, length))
        before, begun = dropped(), time.monotonic()

        for number in range(1, 101):
            output.write(line(number, length) + line(number, length))

        assert time.monotonic() - begun < 1
        lost = dropped() - before
        whole = [row for row in pipe.read().splitlines(keepends=True) if row.endswith(b"}\n")]
        assert len(whole) == taken + 200 - lost
        assert all(json.loads(row) for row in whole)


@pytest.mark.parametrize("length", [100, 4000, 9000, 70_000])
def test_once_somebody_reads_again_every_line_is_whole_again(output: Output, length: int):
    with piped() as pipe:
        fill(output, line(0, length))
        pipe.read()
        before = dropped()

        output.write(line(1, 10) + line(2, 3000) + line(3, 3000))

        *_, first, second, third = pipe.read().splitlines()
        assert [json.loads(row)["n"] for row in (first, second, third)] == [1, 2, 3]
        assert dropped() == before


def test_a_reader_that_is_gone_fails_nothing(output: Output):
    with piped() as pipe:
        kept = os.dup(pipe.reader)
        os.close(pipe.reader)
        os.close(kept)
        before = dropped()

        output.write(line(1, 10) + line(2, 10))

        pipe.reader = os.open(os.devnull, os.O_RDONLY)
        assert dropped() == before + 2


def test_who_comes_while_another_writes_leaves_its_lines_and_all_of_them_are_written(output: Output):
    with piped() as pipe:
        output._writing.acquire()
        waiting = threading.Thread(target=output.write, args=(line(0, 10),))
        waiting.start()
        while not output._next.locked():
            time.sleep(0.001)

        begun = time.monotonic()
        threads = [threading.Thread(target=output.write, args=(line(number, 10),)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
            thread.join(5)
        assert time.monotonic() - begun < 1
        assert pipe.read() == b""

        output._writing.release()
        waiting.join(5)

        assert [json.loads(row)["n"] for row in pipe.read().splitlines()] == list(range(9))
