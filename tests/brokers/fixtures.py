"""The brokers, started by the first test of a process that asks for one; after a test they serve again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.brokers.kafka import Kafka
from tests.brokers.mock_cluster import MockCluster
from tests.brokers.rabbitmq import RabbitMQ
from tests.brokers.server import BrokerMissing, Server
from tests.needs import give_up

PARTITIONS = 12
T = TypeVar("T", bound=Server)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory) -> Iterator[Kafka]:
    yield from running(Kafka, tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def kafka(kafka_server: Kafka) -> Iterator[Kafka]:
    """A real Kafka; a test may kill and freeze it, and names its own topics."""
    yield kafka_server
    kafka_server.restore()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory) -> Iterator[RabbitMQ]:
    yield from running(RabbitMQ, tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitMQ) -> Iterator[RabbitMQ]:
    """A real RabbitMQ; a test may kill and freeze it, and names its own topics."""
    yield rabbitmq_server
    rabbitmq_server.restore()


def running(broker: type[T], directory: Path) -> Iterator[T]:
    try:
        server = broker(directory)
    except BrokerMissing as missing:
        give_up(str(missing))
    with server:
        yield server


@pytest.fixture
def mock_cluster() -> Iterator[MockCluster]:
    """A Kafka that fails on demand, with the topic `transactions`."""
    with MockCluster({"transactions": PARTITIONS}) as cluster:
        yield cluster
