"""No broker: what is published is forgotten. For benchmarks of everything else."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ledger.events.transports.base import Message, Received


class NullTransport:
    """Takes everything, keeps nothing."""

    name = "null"

    def publish(self, messages: Sequence[Message]) -> dict[int, str]:  # noqa: ARG002  (the transport's interface)
        return {}

    def close(self) -> None:
        """Have nothing to give back."""


class NullSource:
    """A topic to which nothing comes."""

    def poll(self, *, size: int, timeout_s: float) -> list[Received]:  # noqa: ARG002  (the source's interface)
        time.sleep(timeout_s)
        return []

    def done(self, received: Sequence[Received]) -> None:
        """Have nothing to commit."""

    def close(self) -> None:
        """Have nothing to give back."""


def open_transport(url: str) -> NullTransport:  # noqa: ARG001  (says only its scheme)
    return NullTransport()


def open_source(url: str, *, topics: Sequence[str], group: str) -> NullSource:  # noqa: ARG001  (likewise)
    return NullSource()
