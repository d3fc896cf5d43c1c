"""Who listens to what and who handles what comes, by dotted path: so the events know nothing of what stands above."""

from __future__ import annotations

# Told of every event before the others are, and more than once where need be: see ledger/events/first.py.
FIRST = "ledger.lists.bump_again"

# By name, which never changes: the cursors of a listener stand under it. See ledger/events/listeners.py for what a
# listener is. A new one begins with the oldest event that is kept.
LISTENERS: dict[str, str] = {}

# Who handles the messages of an inbound topic, by the topic's mode (INBOUND_TOPICS).
INBOUND: dict[str, str] = {
    "execute": "ledger.api.inbound.execute",
}

# Who handles a dead letter again, by the kind of its consumer (ledger/events/replay.py).
REPLAY: dict[str, str] = {
    "listener": "ledger.events.relay.tell_again",
    "transport": "ledger.events.relay.publish_again",
    "inbound": "ledger.events.consuming.replay",
}
