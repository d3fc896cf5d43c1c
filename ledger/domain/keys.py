"""What an answer shows of an API key."""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

from config.runtime.clock import MomentText

KEY_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{8}", re.ASCII)


class KeyStatus(StrEnum):
    """Whether a key is taken."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyShape(Struct, frozen=True, kw_only=True):
    """An API key without its secret; `id` are the characters after `ch_`.

    `networks` are the address ranges from which it is taken, all if there are none. `replaces` is the key that was
    rotated. `last_used_at` is exact to a minute or two.
    """

    id: str
    label: str
    status: KeyStatus
    scopes: list[str]
    networks: list[str]
    replaces: str | None
    created_at: MomentText
    expires_at: MomentText | None
    revoked_at: MomentText | None
    last_used_at: MomentText | None


class NewKeyShape(KeyShape, frozen=True, kw_only=True):
    """A new key: `key` is its text, shown this once, and null when the request is repeated."""

    key: str | None
