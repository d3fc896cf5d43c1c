"""Books to measure on: a copy of the migrated database with a client's 10,000 funded wallets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.databases import as_owner, environment, migrated_database, scratch_database
from benchmarks.procs import finished

OURS = "benchmarks.contenders.ours"
# More than is accepted between two drains: a queue near its bound is counted at every commit, and then refuses.
ROOM = {"PROCESSOR_QUEUE_SIZE": "1000000"}


@contextmanager
def open_books(name: str) -> Iterator[str]:
    """Make such a database and return its name; it is dropped at the end."""
    with scratch_database(name, template=migrated_database()) as database:
        finished(["-m", "benchmarks.started", OURS, "open"], env=environment(database))
        with as_owner(database) as owner:
            owner.execute("VACUUM ANALYZE")
        yield database


def verify(database: str) -> str:
    """Prove that what was measured has booked what it should have, and say so in a line.

    Raises:
        RuntimeError: an invariant of the ledger does not hold.
    """
    finished(["manage.py", "verify_ledger", "--json"], env=environment(database))
    return f"verify_ledger: every invariant holds on {database}"
