"""Build state as users do: through services and the API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.test import Client as HttpClient

from config.runtime.clock import now
from config.runtime.ids import uuid7
from ledger.clients.models import Client
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_client, create_key
from ledger.domain.shapes import AccountShape
from ledger.models import Balance
from ledger.queries.accounts import account_shape, get_account
from ledger.services.accounts import Opening, open_account
from ledger.services.submissions import Submission
from ledger.services.transactions import Submitted, submit_transactions

URL = "/v2/transactions"


def body(amount: Any = "1.00", debit: str = "alice", credit: str = "bob", **more: Any) -> dict[str, Any]:
    """Return a request to move money from one person to another."""
    named = {"debit_account": f"users:{debit}:USD", "credit_account": f"users:{credit}:USD"}
    return {"type": "transfer", "amount": amount, "currency": "USD"} | named | more


@dataclass
class Tenant:
    """A client with a key, and short ways to what tests need of it."""

    client: Client
    key: str

    @classmethod
    def new(cls, tier: str = "internal", scopes: Any = SCOPES) -> Tenant:
        client = create_client(name=f"bank {uuid4()}", tier=tier, actor="test")
        tenant = cls(client, create_key(client=client, scopes=scopes, actor="test")[1])
        tenant.open("cash:USD", kind="asset")
        return tenant

    def open(self, path: str, *, kind: str = "liability", currency: str = "USD", **more: Any) -> AccountShape:
        opening = Opening(path=path, kind=kind, currency=currency, **more)
        return open_account(client_id=self.client.pk, opening=opening).account

    def person(self, name: str, holding: str = "0.00") -> AccountShape:
        """Open `users:{name}:USD`, floor 0, and pay `holding` into it."""
        account = self.open(f"users:{name}:USD", user_id=name)
        if holding != "0.00":
            self.move("cash:USD", account.path, holding, type="cash_in")
        return account

    def account(self, path: str) -> AccountShape:
        """Return the account with this path."""
        return account_shape(Balance.objects.get(account__client=self.client, account__path=path))

    def move(self, debit: str, credit: str, amount: str, **more: Any) -> Submitted:
        """Post through the service and return what stands; a refusal is raised."""
        result = self.submit([self.submission(debit, credit, amount, **more)])[0]
        if not isinstance(result, Submitted):
            raise result
        return result

    def submit(self, submissions: list[Submission]) -> list[Any]:
        return submit_transactions(client_id=self.client.pk, submissions=submissions, actor="test", now=now())

    def submission(self, debit: str, credit: str, amount: str, **more: Any) -> Submission:
        fields: dict[str, Any] = {"type": "transfer", "currency": "USD", "may_be_old": True}
        fields |= {"idempotency_key": str(uuid7()), "request_hash": b"test"}
        return Submission(debit_account=debit, credit_account=credit, amount=amount, **(fields | more))

    def balance(self, account: AccountShape) -> Balance:
        return get_account(self.client.pk, UUID(str(account.id)))

    def posted(self, account: AccountShape) -> int:
        """The booked balance in minor units."""
        return self.balance(account).posted_minor

    def http(self, **headers: str) -> HttpClient:
        """Return a test client that sends this tenant's key through the whole of Django."""
        return HttpClient(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {self.key}"} | headers)

    def as_user(self, user_id: str, **more: Any) -> Tenant:
        """Return the same with an end user's token in place of the key."""
        answer = self.post("/v2/tokens", {"user_id": user_id} | more)
        assert answer.status_code == 201, answer.content
        return Tenant(self.client, answer.json()["token"])

    def post(self, url: str, body: Any, *, key: str | None = None, **headers: str) -> Any:
        """POST JSON (or raw bytes) with an idempotency key."""
        sent = {"Idempotency-Key": key or str(uuid4()), "Prefer": "wait=5"} | headers
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return self.http().post(url, data=data, content_type="application/json", headers=sent)

    def get(self, url: str) -> Any:
        return self.http().get(url)
