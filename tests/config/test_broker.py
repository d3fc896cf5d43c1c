"""Messages: what surrounds them holds whatever an actor does, on the real broker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
from django.core.checks import run_checks
from django.db import connection, transaction
from dramatiq.common import current_millis
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config.broker import COMMAND_TIMEOUT_S, MESSAGE_AGE_MAX_MS, JobsBroker, JobsClient, check_eviction
from config.runtime import metrics, stopping, tracing
from config.runtime.breaker import BreakerState
from config.runtime.database import show_pool
from config.runtime.logging import annotate, set_role, unit_of_work
from tests.valkey import Server, until


@pytest.fixture
def broker(settings):
    """Give a broker with our middleware whose queues nobody else reads."""
    namespace = f"test-{uuid.uuid4().hex}"
    broker = JobsBroker(settings.DRAMATIQ_BROKER_URL, namespace=namespace)
    broker.emit_after("process_boot")
    set_role("command")
    yield broker
    broker.flush_all()
    broker.client.connection_pool.disconnect()


@pytest.fixture
def work(broker, db, capfd):
    """Give a function that works off the queue with one thread and returns the lines of its messages."""

    def work_off() -> list[dict]:
        set_role("worker")
        worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
        worker.start()
        try:
            broker.join("default", timeout=20_000)
            worker.join()
        finally:
            worker.stop()
            set_role("command")
        written = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert [line["event"] for line in written if line["level"] == "error" and line["event"] != "message"] == []
        return [line for line in written if line["event"] == "message"]

    return work_off


def actor(broker, function, *, name: str = "", **options: Any) -> dramatiq.Actor:
    return dramatiq.actor(broker=broker, actor_name=name or function.__name__, **options)(function)


def processed(name: str, outcome: str) -> float:
    (metric,) = metrics.WORKER_PROCESSING_DURATION.labels(name, outcome).collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


def test_a_message_leaves_one_line_that_carries_the_request(broker, work):
    def count(upto: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT generate_series(1, %s)", [upto])
        annotate(rows=upto)

    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    with (
        tracing.span("request", kind="server", carrier={"traceparent": traceparent}),
        unit_of_work("http.request", request_id="order-0815"),
    ):
        message = actor(broker, count).send(3)
    before = processed("count", "done")

    (line,) = work()
    assert line.pop("duration_ms") > 0
    assert line.pop("db_ms") > 0
    assert {name: line[name] for name in line if name not in {"timestamp", "pid"}} == {
        "level": "info",
        "event": "message",
        "release": "dev",
        "role": "worker",
        "request_id": "order-0815",
        "trace_id": "a" * 32,
        "actor": "count",
        "queue": "default",
        "message_id": message.message_id,
        "retries": 0,
        "status": "done",
        "rows": 3,
        "db_queries": 1,
    }
    assert processed("count", "done") == before + 1
    assert metrics.WORKER_POOL_UTILIZATION._value.get() == 0


def test_a_message_from_nowhere_is_its_own_request(broker, work):
    def idle() -> None:
        pass

    message = actor(broker, idle).send()

    (line,) = work()
    assert (line["actor"], line["request_id"], line["trace_id"]) == ("idle", message.message_id, "")


def test_a_failing_message_is_retried_a_few_times_and_each_time_says_why(broker, work):
    runs: list[None] = []

    def fail() -> None:
        runs.append(None)
        raise LookupError("Bearer canary1234")

    actor(broker, fail, min_backoff=1, max_backoff=2, max_retries=2).send()

    lines = work()
    assert [(line["status"], line["retries"], line["level"], line["exception"]) for line in lines] == [
        ("retried", 0, "error", "LookupError"),
        ("retried", 1, "error", "LookupError"),
        ("failed", 2, "error", "LookupError"),
    ]
    assert len({line["request_id"] for line in lines}) == 1
    assert len(runs) == 3
    assert "canary" not in json.dumps(lines)


def test_each_attempt_is_a_trace_of_its_own_linked_to_the_sender(broker, work):
    exporter = InMemorySpanExporter()
    tracing.install(SimpleSpanProcessor(exporter))
    attempts = []

    def second_time() -> None:
        attempts.append(tracing.trace_id())
        if len(attempts) == 1:
            raise LookupError

    try:
        with tracing.span("request", kind="server"):
            sender = tracing.trace_id()
            actor(broker, second_time, min_backoff=1, max_backoff=2).send()
        work()
    finally:
        tracing.install(None)

    consumed = [span for span in exporter.get_finished_spans() if span.name == "second_time"]
    assert [format(span.links[0].context.trace_id, "032x") for span in consumed] == [sender, sender]
    assert [format(span.context.trace_id, "032x") for span in consumed] == attempts
    assert [span.status.is_ok for span in consumed] == [False, True]
    assert sender not in attempts


def test_an_old_message_is_dropped_unrun(broker, work):
    runs: list[None] = []

    def late() -> None:
        runs.append(None)

    message = actor(broker, late).message()
    old = current_millis() - MESSAGE_AGE_MAX_MS - 1
    broker.enqueue(dramatiq.Message(**message.asdict() | {"message_timestamp": old}))

    (line,) = work()
    assert (line["status"], runs) == ("skipped", [])


def test_the_connection_is_back_in_the_pool_after_each_message(broker, work):
    open_after = []

    def use() -> None:
        open_after.append(connection.connection is not None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    used = actor(broker, use)
    for _ in range(3):
        used.send()

    assert [line["status"] for line in work()] == ["done"] * 3
    assert open_after == [False] * 3
    until(all_are_back)  # a thread of the process may just be noting something
    assert metrics.DB_POOL_SIZE._value.get() > 0


def all_are_back() -> bool:
    show_pool()
    return bool(metrics.DB_POOL_AVAILABLE._value.get() == metrics.DB_POOL_SIZE._value.get())


def test_a_dead_connection_or_a_torn_block_does_not_reach_the_next_message(broker, work):
    def die() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def tear() -> None:
        transaction.atomic().__enter__()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def use() -> None:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    used = actor(broker, use)
    actor(broker, die, max_retries=0).send()
    used.send()
    actor(broker, tear).send()
    used.send()

    assert [(line["actor"], line["status"]) for line in work()] == [
        ("die", "failed"),
        ("use", "done"),
        ("tear", "done"),
        ("use", "done"),
    ]


@pytest.fixture
def frail(tmp_path):
    """Give a server of this test's own, and a broker on it."""
    with Server(tmp_path) as server:
        broker = JobsBroker(server.url)
        broker.emit_after("process_boot")
        set_role("command")
        yield server, broker
        broker.client.connection_pool.disconnect()


def test_a_broker_that_evicts_is_warned_about(frail, settings):
    server, broker = frail
    settings.DRAMATIQ_BROKER_URL = server.url

    broker.client.config_set("maxmemory-policy", "allkeys-lru")
    assert [warning.id for warning in run_checks(tags=["jobs"])] == ["countinghouse.W001"]

    broker.client.config_set("maxmemory-policy", "noeviction")
    assert run_checks(tags=["jobs"]) == []


def test_a_worker_says_at_its_start_that_its_broker_evicts(frail, settings, capfd):
    server, broker = frail
    settings.DRAMATIQ_BROKER_URL = server.url
    broker.client.config_set("maxmemory-policy", "allkeys-lru")

    broker.emit_before("worker_boot", dramatiq.Worker(broker))

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "jobs.unsafe"] == [
        "Jobs live on a Redis that evicts (maxmemory-policy allkeys-lru): messages can vanish."
    ]


def test_a_broker_that_is_away_or_silent_stops_no_start(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings.DRAMATIQ_BROKER_URL = f"redis://127.0.0.1:{port}/0"
        begun = time.monotonic()
        assert check_eviction() == []
        assert time.monotonic() - begun < 5
        # What Dramatiq waits out; a TimeoutError it does not.
        with pytest.raises(redis.ConnectionError):
            JobsClient.at(settings.DRAMATIQ_BROKER_URL).ping()
    assert check_eviction() == []


def test_senders_wait_for_a_frozen_server_once_and_not_once_each(frail):
    server, broker = frail
    poke = actor(broker, lambda: None, name="poke")
    poke.send()
    server.freeze()
    rejected = metrics.BREAKER_REJECTIONS.labels("jobs")._value.get
    before, begun = rejected(), time.monotonic()

    for _ in range(20):
        with pytest.raises(redis.ConnectionError):
            poke.send()

    took_s = time.monotonic() - begun
    assert COMMAND_TIMEOUT_S <= took_s < 2 * COMMAND_TIMEOUT_S
    assert rejected() - before == 19
    server.thaw()
    until(lambda: is_sent(poke))


def test_a_killed_server_is_left_alone_and_found_again_when_it_is_back(frail):
    server, broker = frail
    poke = actor(broker, lambda: None, name="poke")
    poke.send()
    server.kill()
    with pytest.raises(redis.ConnectionError, match="refused"):
        poke.send()

    for _ in range(200):
        with pytest.raises(redis.ConnectionError, match="left alone"):
            poke.send()
    server.start()

    until(lambda: is_sent(poke))
    assert broker.do_qsize("default") == 1


def is_sent(poke: dramatiq.Actor, *arguments: int) -> bool:
    try:
        poke.send(*arguments)
    except redis.ConnectionError:
        return False
    return True


@pytest.mark.parametrize("stop", [Server.kill, Server.freeze])
def test_a_worker_goes_on_by_itself_while_senders_leave_the_server_alone(frail, db, stop):
    server, broker = frail
    runs: list[int] = []
    note = actor(broker, runs.append, name="note")
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        note.send(1)
        until(lambda: runs == [1])
        stop(server)
        assert not is_sent(note, 3)
        assert broker._breaker.state is BreakerState.OPEN
        server.start() if stop is Server.kill else server.thaw()
        # What others send, the worker has though this process would send nothing yet.
        other = actor(JobsBroker(server.url), runs.append, name="note")
        other.send(2)
        until(lambda: 2 in runs)
        assert broker._breaker.state is BreakerState.OPEN
        until(lambda: is_sent(note, 3))
    finally:
        worker.stop()


def test_a_worker_process_takes_messages_of_every_queue() -> None:
    """It begins at the broker, whose setup of Django imports actors by other ways than the broker's own."""
    asked = "from config.broker import broker; print(*sorted(broker.queues))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["batches", "posting"]


def test_a_worker_process_starts_and_stops_when_told(settings):
    worker = subprocess.Popen(
        [sys.executable, "-m", "dramatiq", "config.broker", "-p", "1", "-t", "1", "--skip-logging"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # Dramatiq says so at INFO, by the standard library's logging, when its threads run.
        assert worker.stdout is not None
        ready = next(json.loads(line) for line in worker.stdout if "ready for action" in line)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)  # its workers too
        worker.communicate()

    assert (ready["role"], ready["logger"]) == ("worker", "dramatiq.WorkerProcess(0)")


JOBS = """
import os, time
from dramatiq import actor
from config.broker import JobsBroker
from config.runtime import stopping
from django.conf import settings

broker = JobsBroker(settings.DRAMATIQ_BROKER_URL, namespace=os.environ["NAMESPACE"])

def say(word):
    with open(os.environ["SAID"], "a") as said:
        said.write(f"{word}\\n")

@actor(broker=broker)
def note(number):
    say(f"begin {number}")
    time.sleep(0.3)
    say(f"end {number}")

@actor(broker=broker, queue_name="rounds")
def work_in_rounds():
    say("rounds")
    while not stopping.wait(0.01):
        pass
    say("rounds stopped")
"""


QUEUES = {"note": "default", "work_in_rounds": "rounds"}


class Jobs:
    """Worker processes of two threads, their actors, and what these say that they do."""

    def __init__(self, broker: JobsBroker, directory: Path) -> None:
        self.directory, self.namespace = directory, broker.namespace
        (directory / "jobs.py").write_text(JOBS)
        self.said_file = directory / "said"
        self.said_file.touch()
        self.actors = {name: actor(broker, lambda: None, name=name, queue_name=queue) for name, queue in QUEUES.items()}
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "dramatiq", "jobs:broker", "-p", "1", "-t", "2", "--skip-logging"],
                env=os.environ
                | {"PYTHONPATH": f"{self.directory}:{Path.cwd()}"}
                | {"NAMESPACE": self.namespace, "SAID": str(self.said_file)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def said(self, word: str = "") -> list[str]:
        return [line for line in self.said_file.read_text().splitlines() if line.startswith(word)]


@pytest.fixture
def jobs(broker, db, tmp_path):
    jobs = Jobs(broker, tmp_path)
    yield jobs
    for worker in jobs.workers:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def test_a_worker_that_takes_over_from_another_loses_no_message_and_none_is_cut_short(jobs):
    for number in range(40):
        jobs.actors["note"].send(number)
    old = jobs.start_worker()
    until(lambda: jobs.said("end 1"))
    new = jobs.start_worker()

    old.send_signal(signal.SIGTERM)

    assert old.wait(timeout=10) == 0
    assert len(jobs.said("begin")) < 40  # something was left to take over
    until(lambda: len(jobs.said("end")) == 40)
    assert sorted(jobs.said()) == sorted(f"{word} {number}" for word in ("begin", "end") for number in range(40))
    new.send_signal(signal.SIGTERM)
    assert new.wait(timeout=10) == 0


def test_a_message_that_works_in_rounds_hears_of_the_end_and_the_worker_ends_with_it(jobs):
    jobs.actors["work_in_rounds"].send()
    worker = jobs.start_worker()
    until(lambda: jobs.said() == ["rounds"])

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=5) == 0
    assert jobs.said() == ["rounds", "rounds stopped"]


def test_a_worker_in_a_thread_leaves_the_process_as_it_was(broker, db):
    heard = threading.Event()

    def in_rounds() -> None:
        heard.set()
        stopping.wait(10)
        assert stopping.stopping()

    actor(broker, in_rounds).send()
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    assert heard.wait(10)
    assert not stopping.stopping()
    begun = time.monotonic()
    worker.stop()

    assert time.monotonic() - begun < 5
    assert not stopping.stopping()
