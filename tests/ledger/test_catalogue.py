"""The catalogue of events: every type stands in it, what is told is as it says, and the page says the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Union
from uuid import uuid4

import jsonschema
import msgspec
import pytest

from ledger.events.catalogue import CATALOGUE
from ledger.events.description import describe_events, schema_of_data
from ledger.events.envelopes import CONTENT_TYPE, headers_of, message_of, topic_of
from ledger.events.models import EventPosition
from ledger.events.stream import Event, load_event
from ledger.events.types import EventType
from tests.ledger.followed import numbered
from tests.ledger.queueing import emptied
from tests.people import URL, Tenant, body

PAGE = Path(__file__).parents[2] / "docs/reference/events.md"
NO_DEAD_LETTERS = set(EventType) - {one for one in EventType if one.startswith("dead_letter.")}


def told(bank: Tenant) -> list[Event]:
    numbered()
    positions = EventPosition.objects.filter(client_id=bank.client.pk).order_by("position")
    return [event for row in positions if (event := load_event(row.position)) is not None]


@pytest.fixture
def busy(shop: Tenant) -> list[Event]:
    """All that can happen has happened."""
    alice = shop.account("users:alice:USD")
    shop.post(URL, body("99999.00"))
    shop.post(f"{URL}/{shop.post(URL, body('1.00')).json()['id']}/reverse", {})
    held = [shop.post(URL, body("1.00", capture="manual")).json()["id"] for _ in range(2)]
    shop.post(f"{URL}/{held[0]}/capture", {"amount": "0.40"})
    shop.post(f"{URL}/{held[1]}/void", {})
    shop.post(
        URL,
        {
            "type": "transfer",
            "debit_account": "users:alice:USD",
            "credit_account": "users:bob:EUR",
            "amount": "1.00",
            "currency": "USD",
            "credit_currency": "EUR",
            "rate": "0.9",
            "rate_source": "test",
            "fee": "0.10",
        },
    )
    accounts = "/v2/accounts"
    for act, fields in (("freeze", {}), ("unfreeze", {}), ("limits", {"ceiling": "1000.00"})):
        assert shop.post(f"{accounts}/{alice.id}/{act}", {"reason": "because"} | fields).status_code == 200
    empty = shop.open("users:carol:USD", user_id="carol")
    for act in ("close", "reopen"):
        assert shop.post(f"{accounts}/{empty.id}/{act}", {"reason": "because"}).status_code == 200
    shop.post(f"{URL}/batch", {"items": [body("0.10")]})
    shop.post(f"{URL}/batch", {"mode": "atomic", "items": [body("99999.00")]})
    emptied()
    return told(shop)


def test_every_type_stands_in_the_catalogue_once() -> None:
    assert CATALOGUE.keys() == set(EventType)
    assert all(told.__doc__ for told in CATALOGUE.values())


def test_what_is_told_is_as_the_catalogue_says(busy: list[Event]) -> None:
    decoder = msgspec.json.Decoder(Union[tuple(CATALOGUE.values())])  # noqa: UP007  (made at run time)
    for event in busy:
        value = message_of(event).value
        said = msgspec.to_builtins(decoder.decode(value))
        # Nothing is said beyond it, nothing is missing but the trace that nobody asked for.
        if not event.trace:
            assert said.pop("traceparent") is None
        assert said == json.loads(value)
        jsonschema.validate(json.loads(event.data), schema_of_data(EventType(event.type)))
    types = {event.type for event in busy}
    assert {one.value for one in NO_DEAD_LETTERS} - types == {"transaction.expired"}


def test_a_message_says_what_its_event_says(busy: list[Event]) -> None:
    event = next(one for one in busy if one.type == "transaction.completed")
    message, said = message_of(event), json.loads(message_of(event).value)
    assert (message.topic, message.key, message.headers) == ("transactions", str(event.key), headers_of(event))
    assert message.headers == {
        "content-type": CONTENT_TYPE,
        "ce_id": str(event.id),
        "ce_type": "transaction.completed",
        "ce_source": f"/countinghouse/clients/{event.client}",
    }
    data = said.pop("data")
    assert said == {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"/countinghouse/clients/{event.client}",
        "type": "transaction.completed",
        "time": said["time"],
        "subject": str(event.key),
        "datacontenttype": "application/json",
        "dataschema": "urn:countinghouse:event:transaction.completed:1",
        "partitionkey": str(event.key),
        "sequence": f"{event.sequence:020}",
        "position": event.position,
    }
    assert [(entry["account_version"], bool(entry["balance_after"])) for entry in data["entries"]]


def test_the_trace_travels_with_the_message() -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    event = Event(
        1, uuid4(), 1, uuid4(), "account.opened", uuid4(), 1, datetime(2026, 11, 21, 12, tzinfo=UTC), "{}", trace
    )
    message = message_of(event)
    assert (message.headers["traceparent"], json.loads(message.value)["traceparent"]) == (trace, trace)


def test_dead_letters_have_a_topic_of_their_own() -> None:
    topics = {one.value: topic_of(one) for one in EventType}
    assert {name for name, topic in topics.items() if topic == "transactions.dlq"} == {"dead_letter.recorded"}


def test_a_type_of_a_later_release_is_published_by_this_one_too() -> None:
    later = Event(1, uuid4(), 1, uuid4(), "export.completed", uuid4(), 1, datetime(2026, 11, 21, tzinfo=UTC), "{}", "")
    assert json.loads(message_of(later).value)["dataschema"] == "urn:countinghouse:event:export.completed:1"


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text() == describe_events()
