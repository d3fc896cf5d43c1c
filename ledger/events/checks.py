"""What must hold of the followers before anything starts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ledger.events.stream import FOLLOWER_LENGTH_MAX, listener_name


@register("events")
def listeners_have_names_that_are_stored(**_options: Any) -> list[CheckMessage]:
    """Django's system check."""
    length_max = FOLLOWER_LENGTH_MAX - len(listener_name(""))
    return [
        Error(
            f"The name of a listener has {length_max} characters at most: {name!r} has {len(name)}.",
            hint="Shorten it in LISTENERS of config/subscriptions.py.",
            id="countinghouse.E002",
        )
        for name in settings.LISTENERS
        if len(name) > length_max
    ]
