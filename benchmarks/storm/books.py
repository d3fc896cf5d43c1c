"""A client of the storm's own with so few accounts that everybody meets on them, and what moves money there."""

from __future__ import annotations

import http.client
import json
import random
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from config.localstack.ports import HOST
from config.runtime.clock import now

WALLETS = tuple(f"users:{number:02}:USD" for number in range(5))
EURO = "users:00:EUR"
# It has a cent or nothing, so that it can be closed now and then.
TILL, TILL_AMOUNT = "users:till:USD", "0.01"
FUNDS, AMOUNT_MINOR_MAX = "500.00", 6_000
TILL_SHARE = 0.1
BACK_DATED_BY_MAX = timedelta(days=30)
RATES = {"USD": ("EUR", "0.9215"), "EUR": ("USD", "1.0852")}
OTHERS = (
    {"path": "cash:USD", "currency": "USD", "kind": "asset"},
    {"path": "cash:EUR", "currency": "EUR", "kind": "asset"},
    {"path": "liquidity:USD", "currency": "USD", "kind": "asset"},
    {"path": "liquidity:EUR", "currency": "EUR", "kind": "asset"},
    {"path": "fees:USD", "currency": "USD", "kind": "income"},
    {"path": "fees:EUR", "currency": "EUR", "kind": "income"},
    {"path": "tax:USD", "currency": "USD", "kind": "liability"},
)


class Books(NamedTuple):
    """A client: its name, its key, and the ids of its accounts by their paths."""

    client: str
    key: str
    ids: dict[str, str]


def opened(port: int, client: str, key: str) -> Books:
    """Open the accounts of a client, with so little in each wallet that some transfers fail."""
    ids = {}
    for body in (*OTHERS, *map(_wallet, (*WALLETS, EURO, TILL))):
        ids[body["path"]] = _post(port, key, "/v2/accounts", body)
    for path in (*WALLETS, EURO):
        _post(port, key, "/v2/transactions", between(f"cash:{path[-3:]}", path, FUNDS) | {"type": "cash_in"})
    return Books(client, key, ids)


def between(debit: str, credit: str, amount: str) -> dict[str, Any]:
    """Return a transfer."""
    accounts = {"debit_account": debit, "credit_account": credit}
    return {"type": "transfer", "amount": amount, "currency": debit[-3:]} | accounts


def plain(chance: random.Random) -> dict[str, Any]:
    """Return a transfer between two wallets, at times to or from the till."""
    debit, credit = _two(chance, *WALLETS)
    if chance.random() < TILL_SHARE:
        return between(*_two(chance, debit, TILL), TILL_AMOUNT)
    return between(debit, credit, amount(chance))


def with_fee(chance: random.Random) -> dict[str, Any]:
    return between(*_two(chance, *WALLETS), amount(chance)) | {"fee": "0.25"}


def back_dated(chance: random.Random) -> dict[str, Any]:
    moment = now() - BACK_DATED_BY_MAX * chance.random()
    return plain(chance) | {"effective_at": moment.isoformat()}


def exchange(chance: random.Random) -> dict[str, Any]:
    """Return dollars for euros, or the other way round."""
    debit, credit = _two(chance, chance.choice(WALLETS), EURO)
    currency, rate = RATES[debit[-3:]]
    terms = {"credit_currency": currency, "rate": rate, "rate_source": "storm"}
    return between(debit, credit, amount(chance)) | terms


def by_legs(chance: random.Random) -> dict[str, Any]:
    """Return one wallet's money for two others and the tax."""
    minor = [chance.randint(1, AMOUNT_MINOR_MAX // 3) for _ in range(3)]
    payer, *payees = chance.sample(WALLETS, 3)
    shares = [_leg(path, "credit", share) for path, share in zip((*payees, "tax:USD"), minor, strict=True)]
    return {"type": "transfer", "legs": [_leg(payer, "debit", sum(minor)), *shares]}


def amount(chance: random.Random, minor_max: int = AMOUNT_MINOR_MAX) -> str:
    return _major(chance.randint(1, minor_max))


FORMS = {"transfer": plain, "fee": with_fee, "back-dated": back_dated, "exchange": exchange, "legs": by_legs}


def _two(chance: random.Random, *paths: str) -> tuple[str, str]:
    """Return two of the accounts, in an order of chance."""
    debit, credit = chance.sample(paths, 2)
    return debit, credit


def _leg(path: str, side: str, minor: int) -> dict[str, str]:
    return {"account": path, "side": side, "amount": _major(minor), "currency": path[-3:]}


def _major(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


def _wallet(path: str) -> dict[str, str]:
    _, user, currency = path.split(":")
    limits = {"ceiling": TILL_AMOUNT} if path == TILL else {}
    return {"path": path, "currency": currency, "kind": "liability", "user_id": user} | limits


def _post(port: int, key: str, path: str, body: dict[str, str]) -> str:
    """Return the id of what was made."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"open-{uuid4()}"}
    headers |= {"Content-Type": "application/json", "Prefer": "wait=10"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    document = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"POST {path}: {answer.status} {document.decode()}")
    return str(json.loads(document)["id"])
