"""Where a Kafka is and how it is spoken to; the topics that must be there before anything is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ledger.events.transports.base import TransportAway
from ledger.events.transports.urls import BrokerUrl

OnError = Callable[[KafkaError], None]

PARTITIONS = 12
REPLICATION = -1  # what the cluster makes by default
# It says at every try that nobody is there, and whoever asked hears of it anyway.
LOGGER, LOG_LEVEL = logging.getLogger("librdkafka"), 0
PASSED_ON = ("security.protocol", "sasl.", "ssl.")
# Why a broker is not reached, said aside while whoever asks it hears of a failure only, or of nothing.
REASONS = {KafkaError._AUTHENTICATION, KafkaError._SSL}  # noqa: SLF001  (their names)


class Cluster:
    """A cluster by its URL. Options with a dot go to librdkafka as they are; `partitions` and `replication` are ours.

    Raises:
        ValueError: the URL has an option that is neither.
    """

    def __init__(self, url: str) -> None:
        hosts, user, password, options = BrokerUrl.of(url)
        self._partitions = int(options.pop("partitions", PARTITIONS))
        self._replication = int(options.pop("replication", REPLICATION))
        if unknown := [name for name in options if not name.startswith(PASSED_ON)]:
            raise ValueError(f"A kafka:// URL has no option {', '.join(unknown)}.")
        self._hosts = hosts
        credentials = {"sasl.username": user, "sasl.password": password} if user else {}
        self._configuration: dict[str, Any] = (
            {"bootstrap.servers": hosts, "log_level": LOG_LEVEL} | credentials | options
        )

    def producer(self, *, on_error: OnError, **configuration: Any) -> Producer:
        """Return a producer that tells its troubles to `on_error`; its keys are these, with dots for underlines."""
        return Producer(self._with(configuration) | {"error_cb": on_error}, logger=LOGGER)

    def consumer(self, *, on_error: OnError, **configuration: Any) -> Consumer:
        """Return a consumer that tells its troubles to `on_error`; its keys likewise."""
        return Consumer(self._with(configuration) | {"error_cb": on_error}, logger=LOGGER)

    def ensure_topics(self, topics: Collection[str], *, timeout_s: float) -> None:
        """Make those of the topics that are not there.

        Raises:
            TransportAway: nobody answers or lets us in, or we may not make them.
        """
        reasons: list[str] = []

        def note(error: KafkaError) -> None:
            if error.code() in REASONS:
                reasons.append(error.str())

        admin = AdminClient(self._configuration | {"error_cb": note}, logger=LOGGER)
        try:
            # All of them are listed: asking for one would have some brokers make it, as they see fit.
            missing = set(topics) - admin.list_topics(timeout=timeout_s).topics.keys()
            wanted = [NewTopic(name, self._partitions, self._replication) for name in missing]
            for made in admin.create_topics(wanted, request_timeout=timeout_s).values() if wanted else ():
                _finish(made)
        except KafkaException as error:
            admin.poll(0)
            reason = next(iter(reasons), error.args[0].str())
            raise TransportAway(f"Kafka at {self._hosts} does not give its topics: {reason}") from error

    def _with(self, configuration: dict[str, Any]) -> dict[str, Any]:
        return self._configuration | {name.replace("_", "."): value for name, value in configuration.items()}


def _finish(made: Any) -> None:
    try:
        made.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
            raise
