"""What our commands have in common: an answer for people or one JSON object, and a plain end."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from tqdm import tqdm

from config.runtime import lines
from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.clients.models import Client

_AGO = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class ReportCommand(BaseCommand):
    """A command whose answer is for people, or one JSON object with --json."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")

    def handle(self, *_args: Any, **options: Any) -> None:
        with plainly():
            self.report(options)

    def report(self, options: Mapping[str, Any]) -> None:
        """Do the work and write the answer."""
        raise NotImplementedError

    def write_json(self, answer: Mapping[str, Any]) -> None:
        self.stdout.write(json.dumps(answer))


def client_named(name: str) -> Client:
    """Return the client.

    Raises:
        CommandError: there is none of this name.
    """
    client = Client.objects.filter(name=name).first()
    if client is None:
        known = ", ".join(Client.objects.order_by("pk").values_list("name", flat=True)[:5])
        raise CommandError(f"There is no client {name!r}." + (f" There are, for example: {known}." if known else ""))
    return client


def moment(text: str) -> datetime:
    """Read `2026-11-21T10:00:00Z`, a date, or `90m`, `24h`, `7d` ago."""
    ago = _AGO.fullmatch(text)
    if ago:
        return now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 2026-11-21T10:00:00Z, 2026-11-21, 24h or 7d") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def grouped(minor: int, exponent: int) -> str:
    """Return an amount for people, such as "33,476,516.80"."""
    whole, decimals = divmod(abs(minor), 10**exponent)
    fraction = f".{decimals:0{exponent}}" if exponent else ""
    return f"{'-' if minor < 0 else ''}{whole:,}{fraction}"


def progress_bar(name: str, *, total: int, unit: str, hidden: bool) -> tqdm[Any]:
    """Return a bar for people at a terminal."""
    return tqdm(total=total, desc=name, unit=unit, unit_scale=True, disable=hidden or not sys.stderr.isatty())


@contextmanager
def plainly() -> Iterator[None]:
    """Run a command's work: what we expect to go wrong becomes a CommandError, and only errors are logged.

    A line for every one of a million transactions would bury the answer; the books have its history.
    """
    before = lines.OUTPUT.level
    lines.OUTPUT.level = max(before, lines.LEVELS["error"])
    try:
        yield
    except DomainError as error:
        raise CommandError(f"{error.detail} ({error.code})") from error
    except OperationalError as error:
        raise CommandError(f"The database does not answer: {str(error).strip()}") from error
    finally:
        lines.OUTPUT.level = before
