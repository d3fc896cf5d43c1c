"""The life of transactions as log lines (spec 001, Logging Strategy): thousands a second, in one write for a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from config.runtime import lines
from config.runtime.redaction import redact_text

# A failed transaction is the client's business, a full queue is ours.
LEVELS = {"transaction.error": "warning", "queue.full": "critical"}


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one line says of one transaction. `amount` is in major units, `accounts` counts them, `error` is a code.

    `request_id` is that of the request it came with, where that is not what the writing thread works on. `refused` says
    for how many a line of queue.full stands.
    """

    receipt: str
    request_id: str = ""
    type: str = ""
    amount: str = ""
    currency: str = ""
    accounts: int = 0
    worker: str = ""
    journal: str = ""
    duration_ms: float | None = None
    error: str = ""
    refused: int = 0


_encoder = msgspec.json.Encoder()


def lifecycle(event: str, steps: Iterable[Step]) -> None:
    """Write one line for each step of `event`: transaction.start, .executing, .success, .error, or queue.full.

    Pass a generator: where the level is not shown, no step is made.
    """
    level = LEVELS.get(event, "info")
    if not lines.OUTPUT.shows(level):
        return
    said = list(steps)
    if not said:
        return
    base = lines.base_fields(level, event)
    whole = _head(base)
    del base["request_id"]
    bare = _head(base)
    # What all lines share is looked through for secrets once, not a thousand times.
    rests = redact_text(_encoder.encode_lines(said)).splitlines(keepends=True)
    lines.OUTPUT.write(
        b"".join([(bare if step.request_id else whole) + rest[1:] for step, rest in zip(said, rests, strict=True)])
    )


def _head(base: Mapping[str, Any]) -> bytes:
    """Return the beginning of a JSON object whose other fields follow."""
    return redact_text(lines.encode(base)[:-1]) + b","
