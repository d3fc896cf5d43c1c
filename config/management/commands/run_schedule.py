"""`manage.py run_schedule`: the process that runs the periodic jobs of `config.schedule`."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.management.threads import run_threads
from config.runtime.logging import set_role
from config.schedule import JOBS, JOBS_GRACE_S, Runner, lead, run_job


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
        runner = Runner(JOBS)
        if run_threads({"leader": partial(lead, runner)}):
            runner.wait(JOBS_GRACE_S)
