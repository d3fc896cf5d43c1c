"""Kafka: `kafka://host:9092,host:9092?partitions=12&security.protocol=SASL_SSL&sasl.mechanism=SCRAM-SHA-512`."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.events.transports.kafka.cluster import Cluster
from ledger.events.transports.kafka.source import KafkaSource
from ledger.events.transports.kafka.transport import KafkaTransport


def open_transport(url: str) -> KafkaTransport:
    return KafkaTransport(Cluster(url))


def open_source(url: str, *, topics: Sequence[str], group: str) -> KafkaSource:
    return KafkaSource(Cluster(url), topics=topics, group=group)
