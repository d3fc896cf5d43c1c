"""The transaction types: one file each, all listed."""

from __future__ import annotations

from pathlib import Path

import ledger.kinds
from ledger.kinds import KINDS


def test_every_file_is_listed_and_named_for_its_kind() -> None:
    files = {file.stem for file in Path(ledger.kinds.__file__).parent.glob("*.py")} - {"__init__", "base"}

    assert KINDS.keys() == files
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in files}
