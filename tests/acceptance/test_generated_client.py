"""A client that a generator makes of the committed document goes through the quickstart, with types all the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ledger.services.posting import post_due
from tests.acceptance.server import Server
from tests.people import Tenant

ROOT = Path(__file__).parents[2]
NAME = "countinghouse_client"
WALLET = "users:carol:EUR"
TILL = "cash:till-1:EUR"


class Generated:
    """The package `NAME`: `client.create_account(…)` is the operation of that id."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.models = import_module(f"{NAME}.models")

    def __getattr__(self, operation: str) -> Any:
        (place,) = Path(str(import_module(NAME).__file__)).parent.glob(f"api/*/{operation}.py")
        module = import_module(f"{NAME}.api.{place.parent.name}.{operation}")
        return lambda *of, **asked: module.sync_detailed(*of, client=self.api, **asked)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The generated package; what the generator skips or warns of fails here."""
    folder = tmp_path_factory.mktemp("generated")
    # The generator has `ruff` bring what it wrote into order.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    document = ROOT / "docs" / "reference" / "openapi-v2.json"
    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document)),
            *("--output-path", str(folder / NAME), "--meta", "none", "--fail-on-warning"),
        ],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in (made.stdout + made.stderr).lower()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield NAME


def test_a_generated_client_goes_through_the_quickstart(bank: Tenant, package: str) -> None:
    authenticated = import_module(f"{package}.client").AuthenticatedClient
    with Server() as server, authenticated(base_url=server.base_url, token=bank.key) as api:
        _go_through(Generated(api))


def _go_through(client: Generated) -> None:
    models = client.models
    euro = {"currency": "EUR"}
    client.create_account(body=models.AccountIn(path=TILL, kind=models.AccountKind.ASSET, **euro))
    opened = client.create_account(
        body=models.AccountIn(path=WALLET, kind=models.AccountKind.LIABILITY, user_id="carol", **euro)
    )
    carol = opened.parsed
    assert (opened.status_code, type(carol), carol.floor) == (201, models.Account, "0.00")

    def move(debit: str, credit: str, amount: str, key: str, **more: Any) -> Any:
        prefer = {"prefer": more.pop("prefer")} if "prefer" in more else {}
        body = models.TransactionIn(
            type_="transfer", debit_account=debit, credit_account=credit, amount=amount, **euro, **more
        )
        return client.create_transaction(body=body, idempotency_key=key, **prefer)

    booked = move(TILL, WALLET, "20.00", "top-up", prefer="wait=5", reference="till 1, slip 7")
    again = move(TILL, WALLET, "20.00", "top-up", prefer="wait=5", reference="till 1, slip 7")
    assert (booked.status_code, type(booked.parsed)) == (201, models.Transaction)
    assert booked.parsed.completed_at >= booked.parsed.created_at
    assert (again.parsed, again.headers["Idempotent-Replayed"]) == (booked.parsed, "true")

    accepted = move(TILL, WALLET, "5.00", "accepted")
    assert (accepted.status_code, type(accepted.parsed), accepted.parsed.status) == (202, models.Accepted, "processing")
    while post_due(0):
        pass
    assert client.get_receipt(accepted.parsed.receipt_code).parsed.id == accepted.parsed.id
    found = client.get_receipt_transaction(accepted.parsed.receipt_code).parsed
    assert (found.status, found.credit_account.path) == ("completed", WALLET)

    refused = move(WALLET, TILL, "50.00", "too-much", prefer="wait=5")
    assert (refused.status_code, type(refused.parsed)) == (409, models.Problem409)
    assert refused.parsed.code is models.Problem409Code.INSUFFICIENT_FUNDS

    held = move(WALLET, TILL, "4.00", "hold", prefer="wait=5", capture=models.TransactionInCapture.MANUAL).parsed
    captured = client.capture_transaction(
        held.id, body=models.CaptureIn(amount="3.00", final=True), idempotency_key="capture"
    ).parsed
    assert (held.status, captured.status, captured.captured) == ("pending", "completed", "3.00")
    taken_back = client.reverse_transaction(held.id, body=models.ReversalIn(amount="1.00"), idempotency_key="refund")
    assert (taken_back.status_code, taken_back.parsed.reverses) == (201, held.id)

    batch = client.create_batch(
        body=models.BatchIn(
            items=[
                models.BatchItemIn(type_="transfer", debit_account=WALLET, credit_account=TILL, amount=amount, **euro)
                for amount in ("1.00", "500.00")
            ]
        ),
        idempotency_key="batch",
    )
    assert (batch.status_code, type(batch.parsed)) == (207, models.BatchAnswer)
    assert [(item.status, item.error and item.error.code) for item in batch.parsed.items] == [
        (201, None),
        (409, "insufficient_funds"),
    ]

    frozen = client.freeze_account(
        carol.id, body=models.SidesIn(reason="her card was stolen", sides=models.SidesInSides.DEBITS)
    )
    client.unfreeze_account(carol.id, body=models.SidesIn(reason="she has a new card"))
    assert frozen.parsed.frozen == "debits"
    closed = client.close_account(carol.id, body=models.ChangeIn(reason="she moves away")).parsed
    assert closed.code is models.Problem409Code.ACCOUNT_NOT_EMPTY

    page = client.list_transactions(user_id="carol", status=models.ListTransactionsStatus.COMPLETED, limit=2).parsed
    rest = client.list_transactions(
        user_id="carol", status=models.ListTransactionsStatus.COMPLETED, cursor=page.next_cursor
    ).parsed
    assert ([len(page.data), len(rest.data)], rest.next_cursor) == ([2, 3], None)
    assert client.get_account_balance(carol.id).parsed.available == "22.00"
    statement = client.get_account_statement(carol.id).parsed
    assert (statement.closing.balance, len(statement.lines)) == ("22.00", 5)
    line = f"id,date,reference,description,counterparty,amount,balance\nb1,{statement.to:%Y-%m-%d},,,,20.00,20.00\n"
    compared = client.create_reconciliation(
        body=models.ReconciliationIn(account=WALLET, mapping="iso_signed", content=line)
    )
    assert (compared.status_code, compared.parsed.agrees) == (201, False)
    assert [one.balanced for one in client.get_trial_balance().parsed.currencies] == [True, True]  # and dollars
