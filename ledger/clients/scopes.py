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
    "tokens:write": "Mint tokens with which end users see what is theirs.",
    "keys:read": "See the client's keys, without their secrets.",
    "keys:write": "Make keys that may do no more than this one; rotate and revoke such keys.",
    "operations:read": "See dead letters, of all clients. For clients of tier internal.",
    "operations:write": "Replay dead letters or discard them, of all clients. For clients of tier internal.",
    "health:read": "See the state of the service's parts.",
    "metrics:read": "Read the Prometheus metrics.",
}

RESERVED_PREFIX = "operations:"  # scopes that only clients of tier internal may hold

# All that an end user's token may hold, and of that what the key that mints it holds too.
USER_SCOPES = frozenset({"accounts:read", "transactions:read"})

# Names for what is usually given together; a key keeps the scopes, not the name.
_READER = ("accounts:read", "transactions:read", "events:read", "reconciliations:read")
ROLES: dict[str, tuple[str, ...]] = {
    "reader": _READER,
    "bookkeeper": (*_READER, "reconciliations:write"),
    "payments": ("accounts:read", "accounts:write", "transactions:read", "transactions:write", "events:read"),
    "gateway": ("accounts:read", "transactions:read", "tokens:write"),
    "monitor": ("health:read", "metrics:read"),
    "administrator": tuple(scope for scope in SCOPES if not scope.startswith((RESERVED_PREFIX, "health:", "metrics:"))),
    "operator": tuple(SCOPES),
}


def scopes_named(words: list[str]) -> list[str]:
    """Return the scopes that words mean: each is a scope, which it stays, a role, or `all`."""
    named = ROLES | {"all": tuple(SCOPES)}
    return [scope for word in words for scope in named.get(word, (word,))]
