"""Who listens to what, by dotted path: the one table, so that the events know nothing of what stands above them."""

from __future__ import annotations

# By name, which never changes: the cursors of a listener stand under it. See ledger/events/listeners.py for what a
# listener is. A new one begins with the oldest event that is kept.
LISTENERS: dict[str, str] = {}
