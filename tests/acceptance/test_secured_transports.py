"""Brokers that speak TLS and ask for a password: who has both is let in, and who has not hears why, but no secret."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.localstack.ports import HOST
from ledger.events.transports.base import TransportAway
from ledger.events.transports.registry import open_source
from tests.acceptance.test_transports import patiently, transport_at
from tests.brokers.certificates import Certificate
from tests.brokers.kafka import Kafka
from tests.brokers.rabbitmq import RabbitMQ
from tests.brokers.server import BrokerMissing
from tests.brokers.tls_proxy import TlsProxy
from tests.brokers.traffic import batch, by_key, take
from tests.needs import give_up
from tests.valkey import PASSWORD
from tests.valkey import Server as Valkey

DEADLINE_S = 5.0
WRONG = "canary-in-the-mine"


@dataclass(frozen=True)
class Door:
    """How a broker is entered, who vouches for it, and what it says to a wrong password."""

    url: str
    password: str
    authority: str
    refusal: str

    def by(self, *, password: str, authority: str) -> str:
        """Return the URL of who has this password and believes this authority."""
        return self.url.format(password=password, authority=authority)


@pytest.fixture
def kafka_door(kafka: Kafka) -> Door:
    options = "security.protocol=SASL_SSL&sasl.mechanism=PLAIN&ssl.ca.location={authority}"
    url = f"kafka://events:{{password}}@{HOST}:{kafka.secured_port}?{options}"
    return Door(url, kafka.password, str(kafka.certificate.authority), "Authentication failed")


@pytest.fixture
def rabbitmq_door(rabbitmq: RabbitMQ) -> Door:
    url = f"amqps://guest:{{password}}@{HOST}:{rabbitmq.secured_port}/%2F"
    return Door(url, "guest", str(rabbitmq.certificate.authority), "ACCESS_REFUSED")


@pytest.fixture
def valkey_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    try:
        certificate = Certificate.made(tmp_path_factory.mktemp("certificate"))
    except BrokerMissing as missing:
        give_up(str(missing))
    with Valkey(tmp_path_factory.mktemp("valkey")) as server, TlsProxy(server.port, certificate) as proxy:
        url = f"rediss://:{{password}}@{HOST}:{proxy.port}/0"
        yield Door(url, PASSWORD, str(certificate.authority), "invalid username-password pair")


@pytest.fixture(params=["kafka_door", "rabbitmq_door", "valkey_door"])
def door(request: Any, monkeypatch: pytest.MonkeyPatch) -> Door:
    found: Door = request.getfixturevalue(request.param)
    # As for every program that speaks TLS by OpenSSL; Kafka's client brings its own, and has an option.
    monkeypatch.setenv("SSL_CERT_FILE", found.authority)
    return found


def test_what_is_published_by_tls_and_with_a_password_arrives_so(door: Door) -> None:
    topic, url = f"test-{uuid.uuid4().hex}", door.by(password=door.password, authority=door.authority)
    sent = batch(topic, range(100))
    with closing(open_source(url, topics=[topic], group="test")) as source:
        assert source.poll(size=1, timeout_s=0.05) == []
        with closing(transport_at(url, 10)) as transport:
            patiently(lambda: transport.publish(sent))
        assert by_key(take(source, 100)) == by_key(sent)


def refused(url: str) -> tuple[str, str]:
    """Return what somebody hears who publishes, and who takes; each within the deadline."""
    topic, said = f"test-{uuid.uuid4().hex}", list[str]()
    begun = time.monotonic()
    with closing(transport_at(url, DEADLINE_S)) as transport, pytest.raises(TransportAway) as away:
        transport.publish(batch(topic, range(1)))
    said.append(str(away.value))
    with closing(open_source(url, topics=[topic], group="test")) as source, pytest.raises(TransportAway) as away:
        source.poll(size=1, timeout_s=0.1)
    said.append(str(away.value))
    assert time.monotonic() - begun < 2 * DEADLINE_S + 2
    return said[0], said[1]


def test_a_wrong_password_is_named_as_the_reason_and_not_shown(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for said in refused(door.by(password=WRONG, authority=door.authority)):
        assert door.refusal in said
        assert WRONG not in said
    assert WRONG not in caplog.text


def test_who_is_vouched_for_by_somebody_else_is_not_spoken_to(
    door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = str(Certificate.made(tmp_path).authority)
    monkeypatch.setenv("SSL_CERT_FILE", stranger)
    for said in refused(door.by(password=door.password, authority=stranger)):
        assert "certificate verify failed" in said
