"""`python -m benchmarks [NAME…]`: run all benchmarks, or those named, and print their tables."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import (
    accepting,
    account_statements,
    batch,
    cache,
    edge,
    engine,
    flow,
    http,
    moves,
    posting,
    quota,
    reads,
    relay,
    storm,
    transports,
    validation,
)
from benchmarks.harness import Options, Table, machine, write_json
from config.localstack.signals import interrupt_on_stop_signals

BENCHMARKS: dict[str, Callable[[Options], Iterator[Table]]] = {
    "engine": engine.run,
    "moves": moves.run,
    "posting": posting.run,
    "accepting": accepting.run,
    "flow": flow.run,
    "http": http.run,
    "batch": batch.run,
    "statement": account_statements.run,
    "edge": edge.run,
    "generator": validation.run,
    "relay": relay.run,
    "quota": quota.run,
    "reads": reads.run,
    "cache": cache.run,
    "transports": transports.run,
    "storm": storm.run,
}
# It proves, and measures little; and it takes its time.
BY_NAME_ALONE = {"storm"}
NEEDED = ("DATABASE_URL", "MIGRATE_DATABASE_URL", "REDIS_URL", "SECRET_KEY")


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 2 for wrong arguments or a missing environment."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description="The figures we claim, measured here.")
    names = f"of {', '.join(BENCHMARKS)}; without any: all but storm"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--list", action="store_true", help="print the names and what they measure")
    parser.add_argument("--seconds", type=_positive, default=1.0, metavar="N", help="per measurement (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="alternated repetitions (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    if options.list:
        for name, run in BENCHMARKS.items():
            print(f"{name:10} {(run.__doc__ or '').splitlines()[0]}")
        return 0
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        print(f"Not set: {', '.join(missing)}. `python3 dev.py bench` sets them.", file=sys.stderr)
        return 2
    interrupt_on_stop_signals()
    try:
        _run(options.names or [name for name in BENCHMARKS if name not in BY_NAME_ALONE], options)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _run(names: Sequence[str], chosen: argparse.Namespace) -> None:
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        options = Options(seconds=chosen.seconds, rounds=chosen.rounds, scratch=Path(scratch))
        for name in names:
            for table in BENCHMARKS[name](options):
                table.print()
                sys.stdout.flush()
                tables.append(table)
                if chosen.json:
                    write_json(chosen.json, tables, options)


def _positive(raw: str) -> float:
    seconds = float(raw)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds above 0 and up to 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
