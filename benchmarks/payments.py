"""What an HTTP benchmark sends: whole requests, prepared as bytes."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from benchmarks.contenders.loop import CLIENT, Transfer, transfers, wallet
from benchmarks.databases import environment
from benchmarks.procs import finished

BATCH_SIZE = 1_000


def api_key(database: str, *, scopes: str = "transactions:write") -> str:
    """Make a key of the workload's client."""
    command = ["manage.py", "create_key", CLIENT, "--scopes", scopes]
    return finished(command, env=environment(database)).strip()


def payments(key: str, *, accounts: int, prefer: str = "") -> Iterator[bytes]:
    """Yield transfers between any two of the first wallets, each with an idempotency key of its own."""
    headers = _headers(key) + (f"Prefer: {prefer}\r\n" if prefer else "")
    for item in items(random.Random(1), accounts=accounts):
        yield post_request("/v2/transactions", f"{headers}Idempotency-Key: {uuid4()}\r\n", json.dumps(item))


def batches(key: str, *, accounts: int) -> Iterator[bytes]:
    """Yield batches of 1,000 transfers that are independent of one another."""
    headers, source = _headers(key), items(random.Random(2), accounts=accounts)
    while True:
        body = {"mode": "partial", "items": list(itertools.islice(source, BATCH_SIZE))}
        yield post_request("/v2/transactions/batch", f"{headers}Idempotency-Key: {uuid4()}\r\n", json.dumps(body))


def items(source: random.Random, *, accounts: int) -> Iterator[dict[str, Any]]:
    """Yield transfers as a body shows them."""
    while True:
        yield from map(_item, transfers(source, BATCH_SIZE, hot=False, accounts=accounts))


def nothing() -> Iterator[bytes]:
    """Yield what the empty view answers."""
    return itertools.repeat(post_request("/", "Content-Type: application/json\r\n", "{}"))


def post_request(path: str, headers: str, body: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def get_request(path: str, key: str, *, accept: str) -> bytes:
    headers = f"Authorization: Bearer {key}\r\nAccept: {accept}\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


def _headers(key: str) -> str:
    return f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"


def _item(one: Transfer) -> dict[str, Any]:
    return {
        "type": "transfer",
        "debit_account": wallet(one.debit),
        "credit_account": wallet(one.credit),
        "amount": f"{one.amount_minor / 100:.2f}",
        "currency": "USD",
    }
