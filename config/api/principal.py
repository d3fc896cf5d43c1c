"""Who is asking, as every door sees it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from rest_framework.request import Request


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client: `request.auth` of a view. `user_id` is set when an end user's token asks."""

    client_id: int
    client_public_id: UUID
    client_name: str
    tier: str
    key_id: str
    scopes: frozenset[str]
    user_id: str | None = None

    @property
    def is_authenticated(self) -> bool:
        """Tell DRF's permissions that this is somebody."""
        return True

    @property
    def actor(self) -> str:
        """Name the caller in history and audit rows, such as `key:3F9KQ2ZD`."""
        return f"key:{self.key_id}"


def principal_of(request: Request) -> Principal:
    """Return who asks, behind a permission that let somebody in."""
    assert isinstance(request.auth, Principal)
    return request.auth
