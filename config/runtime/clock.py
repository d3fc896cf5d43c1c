"""The one clock. Everything below a door takes the time as an argument instead."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

# What `rfc3339` makes of a moment, in an answer.
MomentText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


def now() -> datetime:
    """Return the present, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  (the one place)


def rfc3339(at: datetime) -> str:
    """Return `at` as RFC 3339 in UTC with microseconds, such as `2026-11-21T06:44:00.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"  # strftime leaves years below 1000 short
