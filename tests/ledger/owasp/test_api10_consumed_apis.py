"""API10:2023, what others send: whoever speaks to us through a broker is believed as little as a client.

Every way in which a message is wrong stands in test_consumer.py; hostile answers to what we ask of others, of any
length, speed and form, in tests/config/test_outbound_answers.py.
"""

from __future__ import annotations

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from ledger.events.inbound import BODY_BYTES_MAX
from ledger.events.models import DeadLetter
from tests.ledger.consumed import Shelf, consumer_of, message
from tests.ledger.owasp.world import rows_of
from tests.people import Tenant

GARBAGE = {
    "nothing": b"",
    "no JSON": b"<xml/>",
    "no object": b"[]",
    "half": message({}).value[:-1],
    "not UTF-8": message("?").value.replace(b"?", b"\xff"),
    "a NUL": message("\0").value,
    "depth": message(0).value.replace(b'"data": 0', b'"data": ' + b"[" * 100_000),
    "other data": message({"order": 7}).value,
    "data of another type": message(7).value,
    "too much": b" " * (BODY_BYTES_MAX + 1),
}


@pytest.mark.parametrize("mode", settings.INBOUND_HANDLERS)
def test_whatever_comes_is_kept_as_a_dead_letter_and_books_nothing(people: Tenant, mode: str) -> None:
    before = {name: rows for name, rows in rows_of(people.client).items() if name.startswith("ledger_")}
    sent = [message(0, key=name)._replace(value=value) for name, value in GARBAGE.items()]
    shelf = Shelf(list(sent))
    consumer = consumer_of(people, shelf, import_string(settings.INBOUND_HANDLERS[mode]))

    while shelf.laid:
        consumer.consume(timeout_s=0)

    letters = DeadLetter.objects.filter(client=people.client)
    assert {letter.key: bytes(letter.body) for letter in letters} == {one.key: one.value for one in sent}
    assert {name: rows for name, rows in rows_of(people.client).items() if name.startswith("ledger_")} == before
