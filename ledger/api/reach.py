"""What of the books the caller of a request may see."""

from __future__ import annotations

from rest_framework.request import Request

from config.api.principal import caller_of
from ledger.queries.reach import Reach


def reach_of(request: Request) -> Reach:
    """Return it: all of a client for its keys, what is the user's for a token."""
    caller = caller_of(request)
    return Reach(caller.client_id, caller.user_id)
