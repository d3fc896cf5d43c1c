"""Statement files of banks. A new bank is one file in `mappings/`, named for it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from ledger.statements.base import Bank, MalformedLine, StatementLine
from ledger.statements.mapping import StatementMapping


def _ready(file: Path) -> Bank:
    return Bank(file.stem, msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), StatementMapping))


BANKS: dict[str, Bank] = {
    file.stem: _ready(file) for file in sorted(Path(__file__).with_name("mappings").glob("*.toml"))
}

__all__ = ["BANKS", "Bank", "MalformedLine", "StatementLine", "StatementMapping"]
