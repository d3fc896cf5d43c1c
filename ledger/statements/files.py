"""Files of lines with fields, plain or compressed: read a line at a time, whatever their size."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from ledger.statements.base import LineMalformed
from ledger.statements.mapping import StatementMapping

LINE_SIZE_MAX_BYTES = 4096
DAMAGES = (EOFError, OSError, zlib.error)
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = "\ufeff"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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


class LineFile:
    """The lines of a file; `number` is that of the last one that was read, counted from 1."""

    def __init__(self, mapping: StatementMapping, content: BufferedIOBase) -> None:
        self.number = 0
        self._encoding, self._delimiter = mapping.encoding, mapping.delimiter
        self._content = content

    def next_line(self) -> bytes:
        """Return the next line, of one that is too long only the beginning; nothing at the end."""
        line = part = self._content.readline(LINE_SIZE_MAX_BYTES + 1)
        self.number += 1
        while len(part) > LINE_SIZE_MAX_BYTES and not part.endswith(b"\n"):
            part = self._content.readline(LINE_SIZE_MAX_BYTES + 1)
        return line

    def split(self, line: bytes) -> list[str]:
        """Return the fields of the last line without the spaces around them; an empty one has none.

        Raises:
            LineMalformed
        """
        if len(line) > LINE_SIZE_MAX_BYTES:
            raise LineMalformed(f"it is longer than {LINE_SIZE_MAX_BYTES} bytes")
        try:
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode(self._encoding)
        except UnicodeDecodeError as error:
            raise LineMalformed(f"it is not {self._encoding.upper()}") from error
        if self.number == 1:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        if _CONTROL.search(text.replace(self._delimiter, "")):
            raise LineMalformed("it holds a control character")
        try:
            # One line at a time: a quote that is never closed must not swallow the lines after it.
            rows = csv.reader([text], delimiter=self._delimiter, strict=True)
            return [field.strip() for row in rows for field in row]
        except csv.Error as error:
            raise LineMalformed(f"its quotes are wrong ({error})") from error
