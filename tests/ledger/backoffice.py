"""Staff, and what tests read off the pages that they see."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client as HttpClient
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ledger.models import Transaction
from tests.people import Tenant

HOSTILE = "<script>alert('x')</script>"


class Staff:
    """A member of staff with exactly these permissions, logged in."""

    def __init__(self, *permissions: str, username: str = "", superuser: bool = False) -> None:
        self.user = User.objects.create(username=username or f"staff-{uuid4()}", is_staff=True, is_superuser=superuser)
        self.user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.http = HttpClient(SERVER_NAME="localhost")
        self.http.force_login(self.user)

    @property
    def actor(self) -> str:
        return f"staff:{self.user.username}"

    def get(self, name: str, /, *args: Any, **query: Any) -> Any:
        return self.http.get(reverse(f"admin:{name}", args=args), query)

    def post(self, name: str, /, *args: Any, **fields: Any) -> Any:
        return self.http.post(reverse(f"admin:{name}", args=args), fields)

    def act(self, name: str, action: str, keys: list[Any], **fields: Any) -> Any:
        """Take an action of a list; with `confirmed` look at its question first, as the page does."""
        chosen = {"action": action, "_selected_action": keys}
        if "confirmed" in fields and "seen" not in fields:
            fields["seen"] = seen(self.post(name, **chosen))
        return self.post(name, **chosen, **fields)

    def page(self, name: str, /, *args: Any, **query: Any) -> str:
        response = self.get(name, *args, **query)
        assert response.status_code == 200, response
        return str(response.content.decode())

    def queries(self, name: str, /, *args: Any, **query: Any) -> list[str]:
        return self.queries_of(lambda: self.page(name, *args, **query))

    def queries_of(self, request: Callable[[], Any]) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            request()
        return [one["sql"] for one in captured]


def receipts(page: str) -> list[str]:
    return re.findall(r"RCP-\d{8}-[0-9A-Z]{22}(?=</a></th>)", page)


def row_of(bank: Tenant, amount: str = "1.00") -> Transaction:
    alice, bob = bank.person("alice", holding="10.00"), bank.person("bob")
    return Transaction.objects.get(pk=bank.move(alice.path, bob.path, amount).transaction.id)


def seen(question: Any) -> str:
    """Return what the page of a question says was shown there, "" of one that asks nothing."""
    found = re.search(r'name="seen" value="([0-9a-f]+)"', question.content.decode())
    return "" if found is None else found[1]


def said(answer: Any) -> list[str]:
    """Return the messages that an answer leaves for the next page."""
    return [str(message) for message in get_messages(answer.wsgi_request)]
