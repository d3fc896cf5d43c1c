"""Who is asking, as every door sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rest_framework.request import Request

from config.api.refusals import Forbidden


class NotForUsers(Forbidden):
    """This operation is not for tokens of end users: it knows no user whose data it could keep to."""

    code = "not_for_users"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client: `request.auth` of a view. `user_id` is set when an end user's token asks.

    `expires_at` is when the key or the token ends, None if nothing ends it.
    """

    client_id: int
    client_public_id: UUID
    client_name: str
    tier: str
    key_id: str
    scopes: frozenset[str]
    user_id: str | None = None
    expires_at: datetime | None = None

    @property
    def is_authenticated(self) -> bool:
        """Tell DRF's permissions that this is somebody."""
        return True

    @property
    def actor(self) -> str:
        """Name the caller in history and audit rows, such as `key:3F9KQ2ZD`."""
        return f"key:{self.key_id}"


def caller_of(request: Request) -> Principal:
    """Return who asks, a key or a user's token, behind a permission that let somebody in."""
    assert isinstance(request.auth, Principal)
    return request.auth


def principal_of(request: Request) -> Principal:
    """Return the client that asks with a key: for what all of a client is open to.

    Raises:
        NotForUsers: a user's token asks, also where the view says by mistake that it is open to users.
    """
    caller = caller_of(request)
    if caller.user_id is not None:
        raise NotForUsers
    return caller
