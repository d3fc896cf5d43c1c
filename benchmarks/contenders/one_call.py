"""One function call a transfer, each its own commit: PL/pgSQL does all of it in one round trip (one_call.sql)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psycopg

from benchmarks.contenders.loop import Transfer, Way, serve

TRANSFER = "SELECT make_transfer(%s::bigint, %s::bigint, %s::numeric)"


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=2) as connection:

        def post(transfers: Sequence[Transfer]) -> list[int]:
            return [connection.execute(TRANSFER, one).fetchall()[0][0] for one in transfers]

        serve({"one call": Way(list, post, _check)})


def _check(made: Sequence[int]) -> None:
    assert all(made)
