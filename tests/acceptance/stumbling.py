"""The settings of a consumer that stumbles over some messages, again and again, and its handler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.settings import *  # noqa: F403

if TYPE_CHECKING:
    from ledger.events.consumer import Binding, Note
    from ledger.events.inbound import Inbound

INBOUND_HANDLERS = {"execute": "tests.acceptance.stumbling.execute"}
STONE = b"a stone"


def execute(binding: Binding, events: Sequence[Inbound], note: Note) -> None:
    from ledger.api import inbound

    if any(STONE in event.data for event in events):
        raise RuntimeError("It stumbles.")
    inbound.execute(binding, events, note)
