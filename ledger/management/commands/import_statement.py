"""`manage.py import_statement`: book a bank's file; run again after anything, it goes on where it was broken off."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser

from config.runtime.clock import now
from ledger.clients.services import find_or_create_client
from ledger.management.mappings import add_mapping, bank_of, currency_of
from ledger.management.reporting import ReportCommand, progress_bar
from ledger.services.statements import (
    PROBLEMS_SHOWN_MAX,
    ImportReport,
    check_importable,
    find_malformed,
    import_statement,
)
from ledger.statements.files import open_statement
from ledger.statements.reader import read_statement

_ACTOR = "command:import_statement"
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Command(ReportCommand):
    help = (
        "Books every line of a bank's statement as a transaction of a client, opening the accounts it names. Run "
        "again it books nothing twice. Exits with 1 when a line is malformed or refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="the bank's file, plain or gzip")
        add_mapping(parser)
        parser.add_argument("--client", required=True, help="whose books; a new name makes a client")
        parser.add_argument("--strict", action="store_true", help="book nothing if any line is malformed")

    def report(self, options: Mapping[str, Any]) -> None:
        begun = time.perf_counter()
        try:
            result = _import(options)
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror or error}.") from error
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. What is booked stands; run it again to book the rest.")
            sys.exit(_INTERRUPTED)
        seconds = time.perf_counter() - begun
        if options["json"]:
            self.write_json(_as_json(result, options, seconds))
        else:
            self._write_answer(result, options, seconds)
        if not result.is_clean:
            raise CommandError(_why(result, strict=options["strict"]))

    def _write_answer(self, result: ImportReport, options: Mapping[str, Any], seconds: float) -> None:
        self.stdout.write(f"{options['file'].name}: {result.lines:,} lines in {seconds:.1f} s")
        self.stdout.write(f"  booked             {result.booked.total():>10,}")
        for name, count in sorted(result.booked.items()):
            self.stdout.write(f"    {name:<17}{count:>10,}")
        self.stdout.write(f"  booked before      {result.already_booked:>10,}")
        self.stdout.write(f"  malformed          {result.malformed:>10,}")
        self.stdout.write(f"  refused            {result.refused:>10,}")
        self.stdout.write(f"  accounts opened    {result.accounts_opened:>10,}")
        for problem in result.problems:
            self.stdout.write(f"line {problem.line}: {problem.reason} ({problem.code})")
        left_off = result.malformed + result.refused - len(result.problems)
        if left_off:
            self.stdout.write(f"… and {left_off:,} more (the first {PROBLEMS_SHOWN_MAX} are shown)")
        file, mapping, client = (shlex.quote(str(options[name])) for name in ("file", "mapping", "client"))
        self.stdout.write(f"next: manage.py reconcile_statement {file} --mapping {mapping} --client {client}")


def _import(options: Mapping[str, Any]) -> ImportReport:
    bank = bank_of(options["mapping"])
    check_importable(bank)
    currency, exponent = currency_of(bank)
    with open_statement(options["file"]) as (content, bytes_read):
        lines = read_statement(bank, content, currency=currency, exponent=exponent)
        if options["strict"]:
            checked = find_malformed(lines)
            if not checked.is_clean:
                return checked
            content.seek(0)
            lines = read_statement(bank, content, currency=currency, exponent=exponent)
        client = find_or_create_client(name=options["client"], actor=_ACTOR)
        file: Path = options["file"]
        bar = progress_bar(file.name, total=file.stat().st_size, unit="B", hidden=options["json"])
        with _stop_between_batches() as stop_if_asked, bar:

            def after_batch(report: ImportReport) -> None:
                bar.update(bytes_read() - bar.n)
                bar.set_postfix(booked=report.booked.total(), refresh=False)
                stop_if_asked()

            return import_statement(
                client_id=client.pk, bank=bank, lines=lines, actor=_ACTOR, now=now(), after_batch=after_batch
            )


@contextmanager
def _stop_between_batches() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C wait for the end of a batch; pressed once more, it breaks off at once and the batch rolls back."""
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, before)


def _as_json(result: ImportReport, options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "client": options["client"],
        "bank": Path(options["mapping"]).stem,
        "lines": result.lines,
        "booked": result.booked.total(),
        "types": dict(sorted(result.booked.items())),
        "already_booked": result.already_booked,
        "malformed": result.malformed,
        "refused": result.refused,
        "accounts_opened": result.accounts_opened,
        "problems": [{"line": one.line, "code": one.code, "reason": one.reason} for one in result.problems],
        "seconds": round(seconds, 3),
    }


def _why(result: ImportReport, *, strict: bool) -> str:
    if strict and result.malformed and not result.booked and not result.already_booked:
        return f"{result.malformed} lines are malformed; nothing was booked (--strict)."
    return f"{result.malformed} lines are malformed and {result.refused} were refused; the others are in the books."
