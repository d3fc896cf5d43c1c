"""What a key may be allowed. Routes name the scope they need; nothing is allowed by default."""

from __future__ import annotations

SCOPES = {
    "accounts:read": "See accounts, their balances and entries.",
    "accounts:write": "Open accounts, freeze and close them, change their limits.",
    "transactions:read": "See transactions, their history and receipts.",
    "transactions:write": "Move money.",
    "events:read": "Read what happened, event by event.",
    "reconciliations:read": "See reconciliations, with the bookings that they name.",
    "reconciliations:write": "Compare bank statements with the books.",
    "operations:read": "See dead letters: messages that could not be handled. For clients of tier internal.",
    "operations:write": "Replay dead letters, or discard them. For clients of tier internal.",
    "health:read": "See the state of the service's parts.",
    "metrics:read": "Read the Prometheus metrics.",
}
