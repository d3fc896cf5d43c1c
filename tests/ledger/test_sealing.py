"""The sealer: every journal is in one block, once, in the order of events, whoever writes and dies meanwhile."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError

from config.localstack.processes import wait_until
from config.runtime.database import raw_cursor
from ledger.domain.merkle import NO_HASH, block_hash, merkle_root
from ledger.events.numbering import number_events
from ledger.events.outbox import Happened, record_events
from ledger.models import Entry, Journal
from ledger.services import sealing
from ledger.services.sealing import seal_block
from tests.apart import DATABASE
from tests.conftest import owner_connection
from tests.counted import statements
from tests.ledger.hostile import connect
from tests.ledger.locks import in_thread, killed
from tests.ledger.sealed import leaves_of, offences, rows, sealed
from tests.people import URL, Tenant, body

LAST = "SELECT number, last_position, hash FROM ledger_block ORDER BY number DESC LIMIT 1"


@pytest.fixture(autouse=True)
def rest(db) -> None:
    """All that earlier tests booked is sealed."""
    sealed()


def moved(bank: Tenant, count: int) -> list[UUID]:
    """Book so many transfers from alice to bob one after the other; return their journals."""
    done = [bank.move("users:alice:USD", "users:bob:USD", "0.01").transaction.id for _ in range(count)]
    found = dict(Journal.objects.filter(transaction_id__in=done).values_list("transaction_id", "id"))
    return [found[one] for one in done]


def last_block() -> tuple[int, int, bytes]:
    number, last_position, head = (rows(LAST) or [(0, 0, NO_HASH)])[0]
    return number, last_position, head


def test_what_is_booked_is_sealed_in_the_order_of_its_events(people: Tenant) -> None:
    sealed()
    number, last_position, head = last_block()
    journals = moved(people, 3)

    (one,) = sealed()

    assert leaves_of(journals) == [(journal, number + 1, index) for index, journal in enumerate(journals)]
    assert one.block[:4] == (number + 1, last_position + 1, last_position + 3, 3)
    assert (one.block.previous_hash, one.hash) == (head, block_hash(one.block))
    leaves = [
        leaf for (leaf,) in rows("SELECT hash FROM ledger_leaf WHERE block_number = %s ORDER BY index", number + 1)
    ]
    assert one.block.merkle_root == merkle_root(leaves)
    assert offences() == {}


def test_a_round_takes_no_more_events_than_its_size_and_the_next_goes_on(people: Tenant) -> None:
    sealed()
    journals = moved(people, 5)

    blocks = sealed(2)

    assert [one.block.journal_count for one in blocks] == [2, 2, 1]
    assert [journal for journal, _, _ in leaves_of(journals)] == journals
    assert [one.block.previous_hash for one in blocks[1:]] == [one.hash for one in blocks[:-1]]
    assert offences() == {}


def test_events_of_what_is_not_booked_make_no_block_and_the_next_one_covers_them(people: Tenant) -> None:
    sealed()
    number, last_position, _ = last_block()
    people.open("users:carol:USD")
    people.move("users:bob:USD", "users:alice:USD", "99.00")  # it fails
    assert sealed() == []
    assert last_block()[0] == number

    moved(people, 1)
    (one,) = sealed()

    assert one.block[:4] == (number + 1, last_position + 1, last_position + 3, 1)
    assert offences() == {}


def test_while_no_event_has_a_new_position_nothing_is_written() -> None:
    assert statements(seal_block) == 1


def test_what_has_no_position_yet_is_not_sealed_and_not_missed(people: Tenant) -> None:
    sealed()
    journals = moved(people, 1)
    assert seal_block() is None
    assert leaves_of(journals) == []
    assert offences() == {}

    sealed()
    assert [journal for journal, _, _ in leaves_of(journals)] == journals


def test_each_capture_of_a_hold_is_sealed_once(people: Tenant) -> None:
    hold = people.post(URL, body("5.00", capture="manual")).json()["id"]
    sealed()
    for amount in ("1.00", "2.00"):
        assert people.post(f"{URL}/{hold}/capture", {"amount": amount}).status_code == 200
    sealed()
    assert people.post(f"{URL}/{hold}/capture", {}).status_code == 200
    sealed()

    journals = list(Journal.objects.filter(transaction_id=hold).order_by("id").values_list("id", "kind"))
    assert [kind for _, kind in journals] == ["hold", "capture", "capture", "capture"]
    assert [journal for journal, _, _ in leaves_of(one for one, _ in journals)] == [one for one, _ in journals]
    assert offences() == {}


def test_an_event_of_something_else_holds_nothing_up(people: Tenant) -> None:
    sealed()
    data = ["", "no JSON", '{"id":"' + 36 * "-" + '"}', f'{{"id":"{uuid4()}"}}']
    with raw_cursor() as cursor:
        events = [Happened(people.client.pk, "transaction.odd", uuid4(), one) for one in data]
        record_events(cursor, events)
    journals = moved(people, 1)

    sealed()

    assert [journal for journal, _, _ in leaves_of(journals)] == journals


def test_who_finds_another_at_it_lets_him(people: Tenant) -> None:
    sealed()
    journals = moved(people, 1)
    while number_events():
        pass
    with connect("app") as session, session.transaction():
        session.execute("SELECT 1 FROM ledger_sealing FOR UPDATE")
        assert seal_block() is None
        assert leaves_of(journals) == []
    assert seal_block() is not None
    assert len(leaves_of(journals)) == 1


def test_a_sealer_that_is_killed_amid_a_round_leaves_nothing_of_it(people: Tenant) -> None:
    sealed()
    journals = moved(people, 3)
    while number_events():
        pass
    before = last_block()

    with owner_connection(DATABASE) as owner, ThreadPoolExecutor(1) as pool, owner.transaction():
        owner.execute("LOCK TABLE ledger_leaf IN SHARE ROW EXCLUSIVE MODE")
        dying = pool.submit(in_thread, seal_block)
        assert wait_until(partial(killed, "INSERT INTO ledger_leaf"), timeout_s=10)
        with pytest.raises(DatabaseError):
            dying.result()

    assert last_block() == before
    (one,) = sealed()
    assert (one.block.number, one.block.journal_count) == (before[0] + 1, 3)
    assert len(leaves_of(journals)) == 3
    assert offences() == {}


def test_the_sealer_goes_on_when_the_database_was_away(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed()
    journals = moved(people, 1)
    while number_events():
        pass
    stop, tries = Event(), list[bool]()

    def away_at_first() -> None:
        tries.append(True)
        if len(tries) == 1:
            raise DatabaseError("away")
        seal_block()
        stop.set()

    monkeypatch.setattr(sealing, "PAUSE_S", 0.01)
    monkeypatch.setattr(sealing, "seal_block", away_at_first)
    sealing.seal(stop)

    assert len(tries) == 2
    assert len(leaves_of(journals)) == 1


def test_writers_numberers_and_two_sealers_at_once_miss_nothing_and_seal_nothing_twice(people: Tenant) -> None:
    """Every journal has one leaf, and those of an account stand in the order of its versions."""
    stop = Event()
    names = [people.person(f"user{number}", holding="100.00").path for number in range(6)]

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            debit, credit = chance.sample(names, 2)
            people.submit([people.submission(debit, credit, "0.01") for _ in range(chance.choice((1, 1, 4)))])

    def number() -> None:
        while not stop.is_set():
            number_events(7)

    def seal_some() -> None:
        while not stop.is_set():
            seal_block(5)

    with ThreadPoolExecutor(12) as pool:
        others = [pool.submit(in_thread, work) for work in (number, number, seal_some, seal_some)]
        writers = [pool.submit(in_thread, partial(write, seed)) for seed in range(8)]
        for writer in writers:
            writer.result()
        stop.set()
        for other in others:
            other.result()
    sealed()

    booked = set(Journal.objects.filter(client=people.client).values_list("id", flat=True))
    places = leaves_of(booked)
    assert len(booked) > 8 * 12
    assert {journal for journal, _, _ in places} == booked
    assert len(places) == len(booked)
    assert offences() == {}
    place = {journal: number for number, (journal, _, _) in enumerate(places)}
    for account in names:
        lines = Entry.objects.filter(account__client=people.client, account__path=account).order_by("account_version")
        order = [place[journal] for journal in lines.values_list("journal_id", flat=True)]
        assert order == sorted(order)
