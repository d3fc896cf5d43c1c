"""The settings of a consumer that stumbles over some messages, and dies of others, again and again; its handler."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.settings import *  # noqa: F403

if TYPE_CHECKING:
    from ledger.events.in_hand import Binding, Note
    from ledger.events.inbound import Inbound

INBOUND_HANDLERS = {"execute": "tests.acceptance.stumbling.execute"}
STONE, KILLER = b"a stone", b"a killer"


def execute(binding: Binding, events: Sequence[Inbound], note: Note) -> None:
    from ledger.api import inbound

    if any(KILLER in event.data for event in events):
        os.kill(os.getpid(), signal.SIGKILL)
    if any(STONE in event.data for event in events):
        raise RuntimeError("It stumbles.")
    inbound.execute(binding, events, note)
