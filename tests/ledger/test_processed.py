"""What has had its effect is remembered for thirty days, and then forgotten however much it is."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ledger.events import processed
from ledger.events.processed import forget_processed, mark_processed
from tests.ledger.followed import execute


def test_what_was_told_more_than_thirty_days_ago_is_forgotten(db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processed, "FORGET_SIZE", 2)
    old, young = f"listener:{uuid4().hex}", f"listener:{uuid4().hex}"
    for consumer, age in ((old, "interval '30 days 1 minute'"), (young, "interval '29 days 23 hours'")):
        execute(
            "INSERT INTO events_processed (consumer, event_id, processed_at) "
            f"SELECT %(follower)s, n::text, clock_timestamp() - {age} FROM generate_series(1, 5) n",
            consumer,
        )
    assert forget_processed() == 5
    assert (mark_processed(young, ["1", "6"]), mark_processed(old, ["1", "6"])) == ({"6"}, {"1", "6"})
