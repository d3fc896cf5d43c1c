"""The schedule: one leader among real processes, and no job in another's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection

from config import schedule
from config.runtime.logging import set_role
from config.schedule import JOBS, Job, Runner, lead, run_job

CALLS: Counter[str] = Counter()
HOLD = threading.Event()


def count() -> None:
    CALLS["count"] += 1


def fail() -> None:
    CALLS["fail"] += 1
    raise LookupError("of the job")


def hang() -> None:
    CALLS["hang"] += 1
    HOLD.wait(30)


def job(function, every_s: float = 10) -> Job:
    return Job(name=function.__name__, every_s=every_s, call=f"{__name__}.{function.__name__}", doc="")


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()
    HOLD.clear()
    yield
    HOLD.set()


def until(condition, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_job_leaves_a_line_and_a_failure_says_why(db, capfd):
    set_role("schedule")
    outcomes = [run_job(job(count, every_s=3600)), run_job(job(fail, every_s=1)), run_job(job(count, every_s=1))]
    set_role("command")

    first, second = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert outcomes == [True, False, True]
    assert (first["event"], first["job"], first["status"], first["level"]) == ("job", "count", "done", "info")
    assert (second["job"], second["status"], second["level"]) == ("fail", "failed", "error")
    assert (second["exception"], second["role"]) == ("LookupError", "schedule")
    assert first["request_id"] != second["request_id"]


def test_a_job_that_fails_or_hangs_stops_no_other(db):
    runner = Runner([job(hang), job(fail), job(count)])

    def started_by(at: float, times: int) -> bool:
        runner.start_due(at)
        return CALLS["count"] == CALLS["fail"] == times

    until(lambda: started_by(100.0, 1))
    until(lambda: started_by(110.0, 2))
    until(lambda: started_by(120.0, 3))
    assert CALLS["hang"] == 1
    assert not runner.wait(0.05)
    HOLD.set()
    assert runner.wait(5)


def test_missed_ticks_are_not_made_up(db):
    runner = Runner([job(count)])
    for at in (100.0, 105.0, 109.9, 155.0, 155.1, 159.9, 160.0):
        runner.start_due(at)
        assert runner.wait(5)

    assert CALLS["count"] == 3  # at 100, at 155 for the five that were due, and at 160


def test_the_leader_that_loses_its_session_takes_it_again(db, capfd):
    stop, runner = threading.Event(), Runner([job(count, every_s=0.05)])
    leader = threading.Thread(target=lead, args=(runner, stop))
    leader.start()
    try:
        until(lambda: CALLS["count"] > 0)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (classid::bigint << 32 | objid::bigint) = %s",
                [schedule.LEADER_LOCK],
            )
            assert cursor.fetchall() == [(True,)]
        connection.close()
        before = CALLS["count"]
        until(lambda: CALLS["count"] > before + 3)
    finally:
        stop.set()
        leader.join(5)
        runner.wait(5)

    assert not leader.is_alive()
    events = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert events == ["schedule.leader", "schedule.database_away", "schedule.leader"]


CANDIDATE = """
import sys, threading
import django
django.setup()
from config.schedule import Job, Runner, lead
lead(Runner([Job(name="beat", every_s=0.1, call="beats.beat", doc="")]), threading.Event())
"""

BEATS = """
import os
def beat():
    with open(os.environ["BEATS"], "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


def beats(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_one_of_two_processes_leads_and_the_other_takes_over_from_a_killed_one(django_db_setup, tmp_path):
    (tmp_path / "beats.py").write_text(BEATS)
    path = tmp_path / "beats.txt"
    environment = os.environ | {
        "BEATS": str(path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    candidates = {
        process.pid: process
        for process in (subprocess.Popen([sys.executable, "-c", CANDIDATE], env=environment) for _ in range(2))
    }
    try:
        until(lambda: len(beats(path)) >= 12, timeout_s=20)
        (first,) = set(beats(path))
        (second,) = set(candidates) - {first}
        candidates[first].kill()
        killed_at = time.monotonic()
        until(lambda: second in beats(path), timeout_s=5)
        taken_over_s = time.monotonic() - killed_at
        until(lambda: beats(path).count(second) >= 5)
    finally:
        for process in candidates.values():
            process.kill()
            process.wait()

    order = beats(path)
    assert order == sorted(order, key=[first, second].index)
    assert taken_over_s < 2


def test_the_command_leads_and_stops_when_told(django_db_setup, settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "run_schedule"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        leading = next(json.loads(line) for line in process.stdout if "schedule.leader" in line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
        process.communicate()

    assert leading["role"] == "schedule"


LOCK_SESSION = """
import django
django.setup()
from config.runtime.database import session_connection
print(session_connection().execute("SHOW application_name").fetchone()[0])
"""


@pytest.mark.parametrize("way", ["", "direct"])
def test_the_lock_is_held_past_the_pooler_where_there_is_one(django_db_setup, way):
    url = os.environ["DATABASE_URL"]
    direct = f"{url}{'&' if '?' in url else '?'}application_name=direct" if way else ""
    done = subprocess.run(
        [sys.executable, "-c", LOCK_SESSION],
        env=os.environ | {"DIRECT_DATABASE_URL": direct},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == (way or "countinghouse")


def test_every_job_of_the_table_is_named_once_and_explained():
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert all(job.doc and job.every_s >= schedule.TICK_S for job in JOBS)
