"""SQL of more than one clause lives in files; migrations and queries read them here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def sql_file(folder: str, name: str) -> str:
    """Return the text of `{folder}/sql/{name}.sql`, the folder counted from the project's root."""
    return (ROOT / folder / "sql" / f"{name}.sql").read_text(encoding="utf-8")
