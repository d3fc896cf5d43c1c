"""What a receiver said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that each part of a call took; `answer_s` is from the first byte written to the end of the head read."""

    dns_s: float
    connect_s: float
    tls_s: float
    answer_s: float
    body_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case; `body` are the bytes as they were sent, any bytes, cut at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    address: str
    timings: Timings

    def retry_after_s(self, *, now: datetime) -> int | None:
        """Return the seconds the receiver asks to be left alone, 0 to `RETRY_AFTER_MAX_S`; None if it does not say.

        Both forms of RFC 9110 §10.2.3 are read; what is neither says nothing.
        """
        value = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,18}", value):
            return min(int(value), RETRY_AFTER_MAX_S)
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if at.tzinfo is None:  # "-0000", which says that the zone is unknown
            at = at.replace(tzinfo=UTC)
        return min(max(0, int((at - now).total_seconds())), RETRY_AFTER_MAX_S)
