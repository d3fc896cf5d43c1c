"""Where PostgreSQL's time goes, by pg_stat_statements."""

from __future__ import annotations

import psycopg

from benchmarks.databases import app_url
from benchmarks.harness import Row, Table

SHOWN = 8
TEXT_MAX = 70
# Role app sees the texts of its own statements.
SO_FAR = """
SELECT queryid, query, calls, total_exec_time
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user)
"""

Totals = dict[int, tuple[str, int, float]]


class Statements:
    """What role app has had executed in a database since this was made."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._before = self._totals()

    def table(self, title: str, *, items: int) -> Table:
        """Return the statements that took most, each per item; the table is empty without pg_stat_statements."""
        rows: list[Row] = []
        for identifier, (text, calls, ms) in self._totals().items():
            _, calls_before, ms_before = self._before.get(identifier, ("", 0, 0.0))
            rows.append({"statement": _short(text), "calls": calls - calls_before, "ms": ms - ms_before})
        rows.sort(key=lambda row: -row["ms"])
        whole = sum(row["ms"] for row in rows)
        table = Table(title)
        table.rows = [
            {
                "statement": row["statement"],
                "calls": row["calls"],
                "ms_per_item": row["ms"] / max(1, items),
                "share": row["ms"] / max(0.001, whole),
            }
            for row in rows[:SHOWN]
        ]
        return table

    def _totals(self) -> Totals:
        with psycopg.connect(app_url(self._database)) as connection:
            if connection.execute("SELECT to_regclass('pg_stat_statements')").fetchall()[0][0] is None:
                return {}
            return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(SO_FAR)}


def _short(text: str) -> str:
    return " ".join(text.split())[:TEXT_MAX]
