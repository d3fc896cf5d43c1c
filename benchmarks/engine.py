"""The posting engine beside plain SQL, itself without its guards, one function call a transfer, and django-hordak."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.books import OURS, open_books, verify
from benchmarks.contender import Contender, contender
from benchmarks.contenders.loop import Order
from benchmarks.databases import as_owner, environment, owner_url, scratch_database
from benchmarks.harness import ROOT, Options, Row, Table, load, median, ratio
from benchmarks.peers import hordak_python
from benchmarks.procs import cpu_s, per_item_ms, postgres_pid

PLAIN = "benchmarks.contenders.plain"
ONE_CALL = "benchmarks.contenders.one_call"
HORDAK = "benchmarks.contenders.hordak"
SETTINGS = {"hordak": {"DJANGO_SETTINGS_MODULE": f"{HORDAK}_settings"}}
SIZES = (1, 50, 1000)
WARM_UP_S = 0.3


class Arm(NamedTuple):
    """One line of the comparison: a way of a contender."""

    name: str
    contender: str
    way: str
    sizes: tuple[int, ...] = SIZES


ARMS = (
    Arm("engine", "engine", "engine"),
    Arm("services", "engine", "services"),
    Arm("engine, no guards", "unguarded", "engine"),
    Arm("plain SQL", "plain", "plain SQL"),
    Arm("one function call", "one_call", "one call", sizes=(1,)),
    Arm("hordak bulk_create", "hordak", "hordak bulk_create"),
    Arm("hordak transfer_to", "hordak", "hordak transfer_to", sizes=(1,)),
)


def run(options: Options) -> Iterator[Table]:
    """The posting engine: 1, 50 and 1,000 a commit, any accounts and one hot account, beside others."""
    python = Path(sys.executable)
    with open_books("books") as books, ExitStack() as stack:
        started = {
            "engine": _start(stack, "engine", python, OURS, options, template=books),
            "unguarded": _start(stack, "unguarded", python, OURS, options, template=books, sql="without_guards"),
            "plain": _start(stack, "plain", python, PLAIN, options, template=books, sql="plain_tables"),
            "one_call": _start(stack, "one_call", python, ONE_CALL, options, sql="one_call"),
            "hordak": _start(stack, "hordak", hordak_python(), HORDAK, options),
        }
        server = postgres_pid(owner_url())
        for hot in (False, True):
            yield _compare(started, hot=hot, server=server, options=options)


def _start(
    stack: ExitStack,
    name: str,
    python: Path,
    module: str,
    options: Options,
    *,
    template: str | None = None,
    sql: str = "",
) -> Contender:
    """Start a contender on a database of its own, which `sql` changes first; `stack` ends both, and verifies ours."""
    database = stack.enter_context(scratch_database(name, template=template))
    if sql:
        with as_owner(database) as owner:
            owner.execute((ROOT / f"benchmarks/sql/{sql}.sql").read_text())
    if name == "engine":
        stack.callback(lambda: print(verify(database)))
    return stack.enter_context(
        contender(
            python, module, env=environment(database) | SETTINGS.get(name, {}), log=options.scratch / f"{name}.log"
        )
    )


def _compare(started: Mapping[str, Contender], *, hot: bool, server: int | None, options: Options) -> Table:
    table = Table(f"engine: transfers {'on one hot account' if hot else 'between 10,000 limited accounts'}")
    begun = load()
    for size in SIZES:
        arms = [arm for arm in ARMS if size in arm.sizes]
        for arm in arms:
            _measured(arm, started, Order(way=arm.way, size=size, hot=hot, seconds=WARM_UP_S, seed=0), server)
        rounds: dict[str, list[Row]] = defaultdict(list)
        for number in range(options.rounds):
            order = Order(way="", size=size, hot=hot, seconds=options.seconds, seed=number + 1)
            first = number % len(arms)  # who is measured first changes from round to round
            rows = {arm.name: _measured(arm, started, order, server) for arm in arms[first:] + arms[:first]}
            for name, row in rows.items():
                rounds[name].append(row | {"x_of_engine": ratio(row["tx_per_s"], rows["engine"]["tx_per_s"])})
        table.rows += [{"per_commit": size} | median(rounds[arm.name]) for arm in arms]
    table.notes.append(f"load {begun:.2f} before, {load():.2f} after; {os.cpu_count()} cores")
    return table


def _measured(arm: Arm, started: Mapping[str, Contender], order: Order, server: int | None) -> Row:
    before = cpu_s(server)
    figures = started[arm.contender].measure({**order, "way": arm.way})
    after = cpu_s(server)
    return {
        "who": arm.name,
        "tx_per_s": figures["tx_per_s"],
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "python_cpu_ms": figures["cpu_ms"],
        "postgres_cpu_ms": per_item_ms(before, after, figures["items"]),
    }
