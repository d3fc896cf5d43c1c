"""Bring the lines of a statement of many accounts into the order of the accounts, on disk when there are many."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from operator import attrgetter
from tempfile import TemporaryFile
from typing import IO

import msgspec

from ledger.statements.base import StatementLine

IN_MEMORY_MAX = 50_000
_by_account = attrgetter("account", "number")
_decoder = msgspec.json.Decoder(StatementLine)


@contextmanager
def sorted_by_account(
    lines: Iterable[StatementLine], *, in_memory_max: int = IN_MEMORY_MAX
) -> Iterator[Iterator[StatementLine]]:
    """Read all lines, and yield them account by account, each account's in the order of the file.

    At most `in_memory_max` lines are held in memory; more are sorted in parts, which wait in temporary files.
    """
    source = iter(lines)
    with ExitStack() as files:
        parts: list[Iterable[StatementLine]] = []
        while part := sorted(islice(source, in_memory_max), key=_by_account):
            is_last = len(part) < in_memory_max
            parts.append(part if is_last else _read(files.enter_context(_written(part))))
        yield heapq.merge(*parts, key=_by_account)


def _written(part: list[StatementLine]) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115  (the caller closes it)
    for line in part:
        file.write(msgspec.json.encode(line) + b"\n")
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> Iterator[StatementLine]:
    return map(_decoder.decode, file)
