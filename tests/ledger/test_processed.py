"""What has had its effect is remembered while it may be told again, and then forgotten however much it is."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ledger.events import processed
from ledger.events.processed import forget_processed, mark_processed
from tests.ledger.followed import execute

AGES = {
    "listener": ("1 day 1 minute", "23 hours"),
    "inbound": ("30 days 1 minute", "29 days 23 hours"),
}


@pytest.mark.parametrize("kind", AGES)
def test_what_nobody_tells_again_is_forgotten(db, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(processed, "FORGET_SIZE", 2)
    old, young = f"{kind}:{uuid4().hex}", f"{kind}:{uuid4().hex}"
    for consumer, age in zip((old, young), AGES[kind], strict=True):
        execute(
            "INSERT INTO events_processed (consumer, event_id, processed_at) "
            f"SELECT %(follower)s, n::text, clock_timestamp() - interval '{age}' FROM generate_series(1, 5) n",
            consumer,
        )
    assert forget_processed() == 5
    assert (mark_processed(young, ["1", "6"]), mark_processed(old, ["1", "6"])) == ({"6"}, {"1", "6"})
