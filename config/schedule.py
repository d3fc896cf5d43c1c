"""What happens without being asked: periodic jobs, run by one leader among any number of schedule processes.

The leader holds an advisory lock of a database session of its own; when it dies, the server frees the lock and another
takes over. Across a take-over a job may run twice at once for a moment: jobs bear that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.utils.module_loading import import_string

from config.runtime import metrics, stopping
from config.runtime.database import release_connections, session_connection
from config.runtime.logging import get_logger, unit_of_work

TICK_S = 0.25
LEADER_LOCK = int.from_bytes(b"schedule")
QUIET_BELOW_S = 60
# What a process gives running jobs before it ends.
JOBS_GRACE_S = 3.0

log = get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic job: `call` is the dotted path of a function without arguments; it is a door, and may read the clock.

    A run that takes longer than `every_s` skips the ticks it missed.
    """

    name: str
    every_s: float
    call: str
    doc: str


JOBS: tuple[Job, ...] = (
    Job(
        name="posting",
        every_s=1,
        call="ledger.actors.keep_posting",
        doc="Has posted what is due and what a lost message or a dead worker left.",
    ),
    Job(
        name="holds",
        every_s=1,
        call="ledger.services.holds.expire_holds",
        doc="Ends the holds whose time is over, which nobody can capture any more.",
    ),
    Job(
        name="time_shifts",
        every_s=1,
        call="ledger.services.folding.fold_time_shifts",
        doc="Sums up what was booked at another time than it took effect, for balances by effective time.",
    ),
    Job(
        name="cache_followed",
        every_s=1,
        call="ledger.lists.show_followed",
        doc="Lets kept answers live long while the relay bumps again what was written.",
    ),
    Job(
        name="frozen_sessions",
        every_s=1,
        call="ledger.locks.end_frozen_sessions",
        doc="Takes accounts and lanes from processes that are frozen.",
    ),
    Job(
        name="dead_letters",
        every_s=10,
        call="ledger.events.dead_letters.show_open_letters",
        doc="Counts the dead letters that are open, for the metrics.",
    ),
    Job(
        name="outbox_partitions",
        every_s=3600,
        call="ledger.events.partitions.ensure_partitions",
        doc="Makes the outbox's partitions of the next months before they are needed.",
    ),
    Job(
        name="old_events",
        every_s=3600,
        call="ledger.events.partitions.drop_partitions",
        doc="Drops the months of events that need not be kept any more.",
    ),
    Job(
        name="old_processed_events",
        every_s=60,
        call="ledger.events.processed.forget_processed",
        doc="Forgets what has had its effect so long ago that nobody tells it again.",
    ),
    Job(
        name="old_usage",
        every_s=3600,
        call="ledger.clients.usage.forget_usage",
        doc="Forgets who asked for what of the API more than 400 days ago.",
    ),
    Job(
        name="events_lag",
        every_s=5,
        call="ledger.events.lag.measure_lag",
        doc="Measures how far listeners and brokers are behind.",
    ),
)


def run_job(job: Job) -> bool:
    """Run a job once in this thread, with its line and its metric; tell whether it succeeded."""
    begun, outcome = time.perf_counter(), "done"
    try:
        with unit_of_work("job", job=job.name, status="failed") as unit:
            if job.every_s < QUIET_BELOW_S:
                unit.level = "debug"
            call: Callable[..., Any] = import_string(job.call)
            call()
            unit.fields["status"] = "done"
    except Exception:  # noqa: BLE001  (the edge of the process: the line above shows the exception)
        outcome = "failed"
    finally:
        release_connections()
    metrics.JOB_DURATION.labels(job.name, outcome).observe(time.perf_counter() - begun)
    return outcome == "done"


class Runner:
    """Starts what is due, each job in a thread of its own and never twice at a time."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._due = dict.fromkeys(jobs, 0.0)
        self._threads: dict[Job, threading.Thread] = {}

    def start_due(self, at: float) -> None:
        """Start the jobs whose time has come; `at` is of the monotonic clock, in seconds."""
        for job, due in self._due.items():
            running = self._threads.get(job)
            if at < due or (running is not None and running.is_alive()):
                continue
            missed = (at - due) // job.every_s if due else 0
            self._due[job] = due + (missed + 1) * job.every_s if due else at + job.every_s
            # Daemons: a job that hangs must not keep the process from stopping; its transaction rolls back.
            thread = threading.Thread(target=run_job, args=(job,), name=job.name, daemon=True)
            thread.start()
            self._threads[job] = thread

    def wait(self, timeout_s: float) -> bool:
        """Have the running jobs come to an end (`config.runtime.stopping`); tell whether all did.

        Nobody may start any meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        stopping.begin()
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        stopping.forget()
        return not any(thread.is_alive() for thread in self._threads.values())


def lead(runner: Runner, stop: threading.Event) -> None:
    """Run the due jobs for as long as this process is the leader, until `stop`; survive the database being away."""
    while not stop.is_set():
        try:
            with session_connection() as connection:
                _lead_on(connection, runner, stop)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            log.warning("schedule.database_away", error=str(error))
            stop.wait(TICK_S)


def _lead_on(connection: psycopg.Connection[Any], runner: Runner, stop: threading.Event) -> None:
    is_leader = False
    while not stop.wait(TICK_S):
        if is_leader:
            connection.execute("SELECT 1")  # raises when the session, and with it the lock, is gone
        elif is_leader := _locked(connection):
            log.info("schedule.leader")
        if is_leader:
            runner.start_due(time.monotonic())


def _locked(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK]).fetchone()
    return row is not None and bool(row[0])
