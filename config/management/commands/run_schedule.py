"""`manage.py run_schedule`: the process that runs the periodic jobs of `config.schedule`."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.logging import set_role
from config.schedule import JOBS, Runner, lead, run_job

LEADER_GRACE_S, JOBS_GRACE_S = 1.0, 3.0


class Command(BaseCommand):
    help = "Runs the periodic jobs while this process is the leader; stops on SIGTERM or Ctrl-C within 5 seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="run every job once, whoever leads, and exit")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        set_role("schedule")
        if once:
            failed = [job.name for job in JOBS if not run_job(job)]
            if failed:
                raise CommandError(f"Failed: {', '.join(failed)}. The log says why.")
            return
        _serve()


def _serve() -> None:
    stop, runner = threading.Event(), Runner(JOBS)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # In a thread, because a frozen database would hold up the main one beyond the time it has to stop.
    leader = threading.Thread(target=lead, args=(runner, stop), name="leader", daemon=True)
    leader.start()
    while leader.is_alive() and not stop.wait(1.0):
        pass
    if not stop.is_set():
        raise CommandError("The schedule's leader thread has died. The log says why.")
    leader.join(LEADER_GRACE_S)
    if not leader.is_alive():
        runner.wait(JOBS_GRACE_S)
