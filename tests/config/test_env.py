"""The environment is read once, typed, and told apart from what it is not."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Environment, django_database, read_environment
from ledger.events.transports.registry import MODULES, open_transport

ENOUGH = {"SECRET_KEY": "s" * 50, "DATABASE_URL": "postgresql://app:pw@db/books", "REDIS_URL": "redis://r/0"}
EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_defaults_fill_what_is_not_set() -> None:
    env = read_environment(ENOUGH)

    assert (env.debug, env.receipt_batch_size, env.ledger_isolation) == (False, 50, "read committed")
    assert env.allowed_hosts == ("127.0.0.1", "localhost")


def test_every_bad_variable_is_reported_at_once() -> None:
    wrong = {
        "DATABASE_URL": "mysql://x",
        "DEBUG": "maybe",
        "DRAMATIQ_BROKER_URL": "redis://r:65536/0",
        "RECEIPT_BATCH_SIZE": "0",
        "V1_SUNSET_ON": "2027-13-01",
        "METRICS_ALLOW": "10.0.0.1/33",
    }

    with pytest.raises(ImproperlyConfigured) as refused:
        read_environment(wrong)

    named = [line.split()[0] for line in str(refused.value).splitlines()[1:]]
    assert named == [
        "SECRET_KEY",
        "DEBUG",
        "DATABASE_URL",
        "REDIS_URL",
        "DRAMATIQ_BROKER_URL",
        "RECEIPT_BATCH_SIZE",
        "V1_SUNSET_ON",
        "METRICS_ALLOW",
    ]


@pytest.mark.parametrize("day", ["tomorrow", "20271201", "2027-12-01T00:00:00Z", "2027-02-29", "", "\u0662027-12-01"])
def test_a_day_is_written_in_one_way(day: str) -> None:
    assert read_environment(ENOUGH | {"V1_SUNSET_ON": "2028-02-29"}).v1_sunset_on == date(2028, 2, 29)
    with pytest.raises(ImproperlyConfigured, match="V1_SUNSET_ON"):
        read_environment(ENOUGH | {"V1_SUNSET_ON": day})


@pytest.mark.parametrize(
    ("name", "url", "why"),
    [
        ("DATABASE_URL", "postgresql://app:secret@db:65536/books", "port"),
        ("DATABASE_URL", "postgresql://app:secret@db:0/books", "port 0"),
        ("DATABASE_URL", "postgresql://app:sec#ret@db:5432/books", "port"),
        ("DATABASE_URL", "postgresql://app:secret@db:five/books", "port"),
        ("DATABASE_URL", "postgresql://app:secret@db", "no database"),
        ("DATABASE_URL", "postgresql://app:secret@db/", "no database"),
        ("DATABASE_URL", "postgresql://app:secret@/books", "no host"),
        ("DATABASE_URL", "postgresql:///books", "no host"),
        ("DATABASE_URL", "postgresql:app:secret@db/books", "no host"),
        ("DATABASE_URL", "postgresql:///?host=/run/postgresql", "no database"),
        ("MIGRATE_DATABASE_URL", "postgres://owner:secret@[::1/books", "not a URL"),
        ("DIRECT_DATABASE_URL", "postgresql://app:secret@/?port=6432", "no host"),
        ("REDIS_URL", "redis://:secret@cache:99999/0", "port"),
        ("REDIS_URL", "redis://:secret@cache:-1/0", "port"),
        ("DRAMATIQ_BROKER_URL", "amqp://jobs:secret@jobs:99999/", "port"),
        ("EVENTS_URL", "kafka://events:secret@a:9092,b:99999", "port"),
        ("EVENTS_URL", "kafka://events:secret@:9092", "no host"),
        ("EVENTS_URL", "kafka://a:9092?sasl.password=secret,kafka://b:9092", "two brokers of one kind: kafka"),
        ("EVENTS_URL", "redis://:secret@a/0,rediss://:secret@b/0", "two brokers of one kind: redis"),
        ("EVENTS_URL", "nats://events:secret@a", "not a URL"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://traces:70000", "port"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_and_its_password_stays_unsaid(name: str, url: str, why: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        read_environment(ENOUGH | {name: url})

    (line,) = str(refused.value).splitlines()[1:]
    assert line.split()[0] == name
    assert why in line
    assert "sec" not in line


def test_brokers_of_events_are_told_apart_by_the_commas_before_their_schemes() -> None:
    kafka = "kafka://events:se,cret@a:9092,b:9092,null:9092?security.protocol=SASL_SSL&ssl.ca.location=/ca.pem"
    asked = f"{kafka}, amqp://u:p@r/%2F,redis://s/0,null:"

    assert read_environment(ENOUGH | {"EVENTS_URL": asked}).events_url == (
        kafka,
        "amqp://u:p@r/%2F",
        "redis://s/0",
        "null:",
    )
    assert read_environment(ENOUGH | {"EVENTS_URL": " "}).events_url == ()


@pytest.mark.parametrize("url", ["kafka://a:1,b:2", "amqp://a", "amqps://a", "redis://a", "rediss://a", "null:"])
def test_every_broker_that_is_allowed_is_one_that_we_know(url: str) -> None:
    (allowed,) = read_environment(ENOUGH | {"EVENTS_URL": url}).events_url

    open_transport(allowed).close()
    assert urlsplit(url).scheme in MODULES


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("postgresql:///books?host=/run/postgresql", "/run/postgresql", "", "books"),
        ("postgresql://app@/books?host=/run/postgresql", "/run/postgresql", "", "books"),
        ("postgresql://app@:5433/books?host=/run/postgresql", "/run/postgresql", "5433", "books"),
        ("postgres://app:pw@[::1]:65535/books", "::1", "65535", "books"),
        ("postgresql:///?service=books", "", "", ""),
        ("postgresql://app@/books?hostaddr=10.0.0.7", "", "", "books"),
    ],
)
def test_a_url_that_names_its_place_in_another_way_is_taken(url: str, host: str, port: str, database: str) -> None:
    taken = django_database(read_environment(ENOUGH | {"DATABASE_URL": url}).database_url)

    assert (taken["HOST"], taken["PORT"], taken["NAME"]) == (host, port, database)


def test_a_redis_behind_a_socket_is_taken() -> None:
    assert read_environment(ENOUGH | {"REDIS_URL": "unix:///run/valkey.sock"}).redis_url == "unix:///run/valkey.sock"


def test_the_example_lists_every_variable_with_its_default() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    listed = dict(line.split("=", 1) for line in lines)

    fields = dataclasses.fields(Environment)

    assert list(listed) == [field.name.upper() for field in fields]
    for field in fields:
        if isinstance(field.metadata["default"], str):
            assert listed[field.name.upper()] == field.metadata["default"]


def test_a_database_url_gives_every_part_decoded() -> None:
    database = django_database("postgresql://app:p%40ss@db.example:6432/books?sslmode=require")

    assert (database["USER"], database["PASSWORD"], database["HOST"], database["PORT"], database["NAME"]) == (
        "app",
        "p@ss",
        "db.example",
        "6432",
        "books",
    )
    assert database["OPTIONS"] == {"sslmode": "require"}
