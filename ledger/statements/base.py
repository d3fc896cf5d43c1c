"""What a bank's statement file is, and how one is read: a line at a time, whatever its size."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from io import BufferedIOBase
from pathlib import Path
from typing import NoReturn

from ledger.errors import StatementMalformed

LINE_SIZE_MAX_BYTES = 4096
_GZIP_MAGIC = b"\x1f\x8b"
_DAMAGES = (EOFError, OSError, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One line, understood: `type` is one of KINDS, `amount` is above zero, in major units.

    `id` and `account` are the bank's own numbers; `balance_minor` is what the bank printed after the line;
    `content_hash` tells the same line from another one with the same id.
    """

    number: int
    id: str
    account: str
    on: date
    type: str
    amount: str
    balance_minor: int
    content_hash: bytes
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """A line that is not what the bank's format says; `number` counts the file's lines from 1, the header included."""

    number: int
    reason: str


class LineMalformed(ValueError):
    """Raised by a bank's `parse` with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """A bank's format. `parse(number, text)` reads one line without its end, or raises LineMalformed.

    `rounding_minor` is how far a printed balance may stand from the sum of its lines by the bank's own rounding.
    """

    name: str
    currency: str
    exponent: int
    header: str
    rounding_minor: int
    parse: Callable[[int, str], StatementLine]

    def customer_path(self, account: str) -> str:
        """Return the path of our account that stands for a customer's account at the bank.

        It names the bank, because the numbers of two banks of one client may be the same, and a path never changes.
        """
        return f"customers:{self.customer_id(account)}:{self.currency}"

    def customer_id(self, account: str) -> str:
        """Return the user id of the customer who has this account at the bank."""
        return f"{self.name}:{account}"


@contextmanager
def open_statement(path: Path) -> Iterator[tuple[BufferedIOBase, Callable[[], int]]]:
    """Open a file, plain or gzip by its first bytes; yield its content and how many of the file's bytes are read.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        if file.peek(2)[:2] == _GZIP_MAGIC:
            with gzip.open(file) as content:
                yield content, file.tell
        else:
            yield file, file.tell


def read_statement(bank: Bank, content: BufferedIOBase) -> Iterator[StatementLine | MalformedLine]:
    """Check the header now, and return the lines, read as they are asked for; empty ones are passed over.

    A file that is damaged ends with a malformed line.

    Raises:
        StatementMalformed: the first line is not the bank's header.
    """
    try:
        header = _text(content.readline(LINE_SIZE_MAX_BYTES))
    except (LineMalformed, *_DAMAGES):
        header = ""
    if header != bank.header:
        raise StatementMalformed(f"This is no statement of {bank.name}: its first line is not that bank's header.")
    return _lines(bank, content)


def _lines(bank: Bank, content: BufferedIOBase) -> Iterator[StatementLine | MalformedLine]:
    number = 1
    try:
        while raw := content.readline(LINE_SIZE_MAX_BYTES + 1):
            number += 1
            line = _line(bank, number, raw, content)
            if line is not None:
                yield line
    except _DAMAGES as error:
        yield MalformedLine(number + 1, f"the file is damaged from here on ({error})")


def _line(bank: Bank, number: int, raw: bytes, content: BufferedIOBase) -> StatementLine | MalformedLine | None:
    try:
        if len(raw) > LINE_SIZE_MAX_BYTES:
            _pass_over(raw, content)
        text = _text(raw)
        return bank.parse(number, text) if text else None
    except LineMalformed as malformed:
        return MalformedLine(number, str(malformed))


def _text(raw: bytes) -> str:
    text = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        decoded = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise LineMalformed("it is not ASCII") from error
    if decoded and not decoded.isprintable():
        raise LineMalformed("it holds a control character")
    return decoded


def _pass_over(raw: bytes, content: BufferedIOBase) -> NoReturn:
    while raw and not raw.endswith(b"\n"):
        raw = content.readline(LINE_SIZE_MAX_BYTES)
    raise LineMalformed(f"it is longer than {LINE_SIZE_MAX_BYTES} bytes")
