"""What the commands on a bank's statement have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from ledger.management.reporting import ReportCommand
from ledger.statements import BANKS


class StatementCommand(ReportCommand):
    """A command on a bank's file and a client's books."""

    client_help: str

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="the bank's file, plain or gzip")
        parser.add_argument("--bank", required=True, choices=BANKS, help="whose format the file has")
        parser.add_argument("--client", required=True, help=self.client_help)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Make a CommandError of a file that cannot be read."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror or error}.") from error
