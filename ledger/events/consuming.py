"""Which topics are consumed, from which brokers, and for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils.module_loading import import_string

from config.runtime.errors import DomainError
from ledger.clients.models import Client
from ledger.events.consumer import Consumer
from ledger.events.errors import InboundUnbound
from ledger.events.in_hand import Binding, Bound, Handler
from ledger.events.inbound import read_message
from ledger.events.models import DeadLetter
from ledger.events.replay import commits_itself
from ledger.events.transports.base import Received, Source
from ledger.events.transports.registry import open_source

GROUP = "countinghouse"


def bindings() -> dict[str, Bound]:
    """Return who handles what comes in each of the topics of INBOUND_TOPICS.

    Raises:
        InboundUnbound: a topic is of no client that there is, or of a mode that nobody knows.
    """
    return {one.topic: _bound(one) for one in settings.INBOUND_TOPICS}


def consume_works() -> dict[str, Callable[[Event], None]]:
    """Return what a consumer does, a thread's work for each broker of EVENTS_URL; nothing is connected to yet.

    Raises:
        InboundUnbound: as for `bindings`, or there is nothing to consume, or a URL has an option that nobody knows.
    """
    if not settings.EVENTS_URLS:
        raise InboundUnbound("EVENTS_URL names no broker: write one there, such as kafka://host:9092.")
    if not settings.INBOUND_TOPICS:
        raise InboundUnbound("INBOUND_TOPICS names no topic: write one there, such as transactions.inbound.")
    bound = bindings()
    return {
        f"consumer:{urlsplit(url).scheme}": Consumer(_source(url, bound), bound).run for url in settings.EVENTS_URLS
    }


def _source(url: str, topics: Iterable[str]) -> Source:
    try:
        return open_source(url, topics=list(topics), group=GROUP)
    except ValueError as error:
        raise InboundUnbound(f"EVENTS_URL: {error}") from error


def _bound(topic: Any) -> Bound:
    if topic.mode not in settings.INBOUND_HANDLERS:
        known = ", ".join(settings.INBOUND_HANDLERS)
        raise InboundUnbound(
            f"INBOUND_TOPICS: nobody knows the mode {topic.mode!r} of {topic.topic}; there is {known}."
        )
    handle: Handler = import_string(settings.INBOUND_HANDLERS[topic.mode])
    return Bound(Binding(topic.topic, _client_id(topic), topic.source), handle)


def _client_id(topic: Any) -> int:
    clients = Client.objects.all()
    if topic.client:
        clients = clients.filter(Q(name=topic.client) | Q(public_id=_uuid(topic.client)))
    found = list(clients.values_list("pk", flat=True)[:2])
    if len(found) != 1:
        who = f"There is no client {topic.client!r}" if topic.client else "There is not just one client"
        raise InboundUnbound(f"{who}: write {topic.topic}?client=name-or-id in INBOUND_TOPICS.")
    return found[0]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@commits_itself
def replay(letter: DeadLetter) -> None:
    """Have a message that became a dead letter handled again, whatever has come after it.

    The handler is told that it is a replay: under the message's own key a failure would be answered again.

    Raises:
        DomainError: it is refused again; nothing is stored but the letter's error.
        InboundUnbound: its topic is not consumed any more.
    """
    bound = bindings().get(letter.topic)
    if bound is None:
        raise InboundUnbound(f"INBOUND_TOPICS does not name {letter.topic} any more.")
    received = Received(
        letter.topic, letter.partition, letter.offset, letter.key, bytes(letter.body), dict(letter.headers), None
    )
    inbound = read_message(received)
    bound.handle(bound.binding, [inbound._replace(is_replay=True)], _raise)


def _raise(refusals: Mapping[int, DomainError]) -> None:
    for refusal in refusals.values():
        raise refusal
