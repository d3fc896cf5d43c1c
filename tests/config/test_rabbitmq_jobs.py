"""Dramatiq on RabbitMQ holds what it holds on Redis: messages run, come again, and an outage passes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import ConnectionClosed

from config import rabbitmq_jobs
from config.broker import check_eviction, middleware, open_broker
from config.localstack.processes import wait_until
from config.rabbitmq_jobs import RabbitJobsBroker
from config.runtime.logging import set_role
from tests.brokers.rabbitmq import RabbitMQ
from tests.ledger.queueing import send, statuses
from tests.people import Tenant, body

OPEN_S = 0.5


@pytest.fixture
def broker(rabbitmq: RabbitMQ) -> Iterator[RabbitJobsBroker]:
    broker = RabbitJobsBroker(rabbitmq.url, middleware=middleware(), open_s=OPEN_S)
    broker.emit_after("process_boot")
    set_role("command")
    yield broker
    RabbitmqBroker.close(broker)  # of ours alone, which would close what the process has open


class Counter:
    """An actor on a queue of its own that fails as often as told, and the arguments with which it ran."""

    def __init__(self, broker: RabbitJobsBroker, *, fails: int = 0) -> None:
        self.runs: list[int] = []
        self._fails = fails
        name = f"count-{uuid.uuid4().hex}"
        self.actor: dramatiq.Actor[Any, Any] = dramatiq.actor(
            broker=broker, actor_name=name, queue_name=name, min_backoff=100, max_backoff=200
        )(self._run)

    def _run(self, number: int) -> None:
        self.runs.append(number)
        if len(self.runs) <= self._fails:
            raise LookupError

    def is_sent(self, number: int) -> bool:
        try:
            self.actor.send(number)
        except ConnectionClosed:
            return False
        return True


@pytest.fixture
def works(broker: RabbitJobsBroker) -> Iterator[Any]:
    """Give a function that starts a worker on the actors that there are."""
    workers: list[dramatiq.Worker] = []

    def work() -> None:
        workers.append(dramatiq.Worker(broker, worker_timeout=50, worker_threads=1))
        workers[-1].start()

    yield work
    for worker in workers:
        worker.stop()


def heartbeat(broker: RabbitJobsBroker, seconds: int) -> None:
    parameters: Any = broker.parameters
    parameters.heartbeat = seconds


def test_the_url_chooses_the_broker(rabbitmq: RabbitMQ, settings) -> None:
    broker = open_broker(rabbitmq.url)
    settings.DRAMATIQ_BROKER_URL = rabbitmq.url

    assert isinstance(broker, RabbitJobsBroker)
    assert check_eviction() == []


@pytest.mark.usefixtures("db")
def test_a_message_that_fails_comes_again_later(broker: RabbitJobsBroker, works) -> None:
    counter = Counter(broker, fails=2)
    works()

    counter.actor.send(7)

    assert wait_until(lambda: counter.runs == [7, 7, 7], timeout_s=20)
    assert not wait_until(lambda: len(counter.runs) > 3, timeout_s=1)


def test_a_connection_that_had_nothing_to_send_for_long_is_replaced_unnoticed(
    broker: RabbitJobsBroker,
) -> None:
    counter = Counter(broker)
    heartbeat(broker, 1)
    assert counter.is_sent(1)

    time.sleep(4)  # two heartbeats missed, and the server closes

    assert counter.is_sent(2)
    assert broker.get_queue_message_counts(counter.actor.queue_name)[0] == 2


def test_senders_wait_for_a_frozen_server_once_and_not_once_each(broker: RabbitJobsBroker, rabbitmq: RabbitMQ) -> None:
    counter = Counter(broker)
    heartbeat(broker, 1)
    assert counter.is_sent(1)
    rabbitmq.freeze()
    begun = time.monotonic()

    assert not counter.is_sent(2)
    assert time.monotonic() - begun < 2 * (1 + 5) + 2
    begun = time.monotonic()
    assert not any(counter.is_sent(number) for number in range(20))
    assert time.monotonic() - begun < OPEN_S
    time.sleep(OPEN_S)
    begun = time.monotonic()
    assert not counter.is_sent(2)
    assert time.monotonic() - begun < 2 * rabbitmq_jobs.CONNECT_TIMEOUT_S

    rabbitmq.thaw()
    assert wait_until(lambda: counter.is_sent(3), timeout_s=10)


@pytest.mark.usefixtures("db")
def test_a_worker_goes_on_by_itself_when_a_killed_server_is_back(
    broker: RabbitJobsBroker, rabbitmq: RabbitMQ, works
) -> None:
    counter = Counter(broker)
    works()
    assert counter.is_sent(1)
    assert wait_until(lambda: counter.runs == [1], timeout_s=10)
    rabbitmq.kill()
    assert not counter.is_sent(2)

    rabbitmq.start()

    assert wait_until(lambda: counter.is_sent(3), timeout_s=20)
    assert wait_until(lambda: 3 in counter.runs, timeout_s=20)


def test_a_worker_process_books_what_a_message_by_rabbitmq_tells_it_to(bank: Tenant, rabbitmq: RabbitMQ) -> None:
    env = os.environ | {"DRAMATIQ_BROKER_URL": rabbitmq.url, "LOG_LEVEL": "WARNING"}
    bank.person("alice", holding="10.00")
    bank.person("bob")
    assert send(bank, body()).status_code == 202
    worker = subprocess.Popen([sys.executable, "-m", "config.worker"], env=env, start_new_session=True)
    try:
        poke = "import config.broker; from ledger.actors import post_accepted; post_accepted.send(0)"
        subprocess.run([sys.executable, "-c", poke], env=env, check=True)
        assert wait_until(lambda: statuses(bank) == {"completed": 1}, timeout_s=30)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=20) == 0
    finally:
        os.killpg(worker.pid, signal.SIGKILL) if worker.poll() is None else None
        worker.wait()
