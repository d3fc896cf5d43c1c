"""The demo's books in a database of their own, made once: tests read it, or work on copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scratch import manage, scratch_database


@dataclass(frozen=True)
class Demo:
    """The database, the file that make_demo wrote there, and what it printed."""

    database: str
    output: Path
    printed: str


@pytest.fixture(scope="session")
def demo(django_db_setup, tmp_path_factory) -> Iterator[Demo]:
    """Migrate a new database and make the demo in it, as processes of their own, like `up`."""
    output = tmp_path_factory.mktemp("demo") / "new" / "demo.json"
    with scratch_database() as database:
        assert manage("migrate", "-v0", database=database).returncode == 0
        made = manage("make_demo", "--base-url", "http://127.0.0.1:8000/", "--output", output, database=database)
        assert (made.returncode, made.stderr) == (0, "")
        yield Demo(database, output, made.stdout)
