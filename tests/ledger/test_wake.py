"""The relay hears of what has happened, beside the commit: after it, and never of what was rolled back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import transaction

from config.localstack.processes import wait_until
from config.runtime.database import raw_cursor
from config.runtime.redis import redis_client
from ledger.events.outbox import Happened, record_events
from ledger.events.wake import CHANNEL, hear


class Ear:
    def __init__(self) -> None:
        self.heard = 0

    def __call__(self) -> None:
        self.heard += 1


@pytest.fixture
def ear(db) -> Iterator[Ear]:
    made, stop = Ear(), threading.Event()
    thread = threading.Thread(target=hear, args=(made, stop))
    thread.start()
    # Other tests' events may be heard meanwhile: that it listens, a message of our own proves.
    assert wait_until(lambda: redis_client(settings.REDIS_URL).publish(CHANNEL, b"") > 0, timeout_s=5)
    assert wait_until(lambda: made.heard > 0, timeout_s=5)
    yield made
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def record() -> None:
    with raw_cursor() as cursor:
        record_events(cursor, [Happened(4_000_000_001, "account.opened", uuid4(), "{}")])


def test_what_is_committed_is_heard(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[str]()
    monkeypatch.setattr("ledger.events.outbox.wake_relay", lambda: calls.append("woken"))
    with transaction.atomic():
        record()
        assert calls == []
    assert calls == ["woken"]
    monkeypatch.undo()
    before = ear.heard
    record()
    assert wait_until(lambda: ear.heard > before, timeout_s=5)


def test_what_is_rolled_back_wakes_nobody(db, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[str]()
    monkeypatch.setattr("ledger.events.outbox.wake_relay", lambda: calls.append("woken"))
    with transaction.atomic():
        record()
        transaction.set_rollback(True)
    assert calls == []
