"""`manage.py relay_events`: it orders events, hands them on and seals what they tell, the periodic jobs beside it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.management.threads import run_threads
from config.runtime.logging import set_role
from config.schedule import JOBS, JOBS_GRACE_S, Runner, lead
from ledger.events.relay import followers, in_turn, relay_works
from ledger.services.sealing import seal


class Command(BaseCommand):
    help = (
        "Gives events their positions, has listeners and brokers (EVENTS_URL) follow them, seals what is booked, and"
        " leads the schedule; any number may run. Stops on SIGTERM or Ctrl-C within 5 seconds."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--without-schedule", action="store_true", help="leave the jobs to run_schedule")

    def handle(self, *args: Any, without_schedule: bool, **options: Any) -> None:
        set_role("relay")
        works = relay_works(in_turn(followers())) | {"sealer": seal}
        if without_schedule:
            run_threads(works)
            return
        runner = Runner(JOBS)
        if run_threads(works | {"leader": partial(lead, runner)}):
            runner.wait(JOBS_GRACE_S)
