"""The command line of `dev.py`, read twice: before anything is installed, and by what then runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What was asked for; `rest` goes to pytest, the benchmarks or manage.py as it is."""

    name: str
    port: int = 0
    rest: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> Command:
    """Return the command; wrong arguments print the usage and exit with 2, `--help` with 0."""
    parser = argparse.ArgumentParser(
        prog="python3 dev.py",
        description="Needs Python 3.11 or newer with pip, and nothing else.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up", help="run everything here: database, cache, demo data, web, worker", allow_abbrev=False
    )
    up.add_argument("--port", type=_port, default=8000, help="where the web server listens (default: 8000)")
    commands.add_parser("bench", help="bench [NAME…]: run all benchmarks, or those named; `bench --list` names them")
    commands.add_parser("test", help="test [ARGS…]: run all tests with coverage, or `pytest ARGS…`")
    commands.add_parser("manage", help="manage ARGS…: run manage.py on the servers of `up`, or on ones started for it")
    # What these run has options of its own, which argparse would take for ours.
    theirs = list(arguments[1:]) if arguments and arguments[0] in ("bench", "test", "manage") else []
    ours = arguments[:1] if theirs else arguments
    options = parser.parse_args(ours)
    return Command(name=options.name, port=getattr(options, "port", 0), rest=tuple(theirs))


def _port(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) not in range(1, 65_536):
        raise argparse.ArgumentTypeError(f"{raw!r} is not a port from 1 to 65535")
    return int(raw)
