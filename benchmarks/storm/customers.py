"""Who sends in a storm: each asks until it is answered, always with the same key, and remembers what it was told."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from benchmarks.storm.ground import Books, transfer
from config.localstack.ports import HOST

CUSTOMERS = 12
ANSWER_WITHIN_S = 20.0
BATCH_SIZE = 20
AGAIN = 0.05
AMOUNT_MINOR_MAX = 6_000
BROKEN = 0  # stands for the status where no answer came
IN_USE = "idempotency_key_in_use"


class Ask(NamedTuple):
    """One request, which may be sent many times."""

    key: str
    kind: str
    path: str
    prefer: str
    body: str


class Told(NamedTuple):
    """What a key was answered with for good; without `id` the request was refused and nothing was stored."""

    kind: str
    status: int
    id: str | None
    receipt: str | None


class Attempt(NamedTuple):
    """One sending of a request: when, on the monotonic clock, how long it took, and the status."""

    begun: float
    seconds: float
    status: int


class Crowd:
    """All of them."""

    def __init__(self, port: int, books: Books) -> None:
        self.books = books
        self.customers = [Customer(port, books, number) for number in range(CUSTOMERS)]

    @property
    def acknowledged(self) -> int:
        return sum(len(customer.told) for customer in self.customers)

    def start(self) -> None:
        for customer in self.customers:
            customer.start()

    def stop(self, timeout_s: float) -> None:
        """Let them ask nothing new, and have what they asked answered within so long."""
        for customer in self.customers:
            customer.give_up_at = time.monotonic() + timeout_s
            customer.is_done.set()
        for customer in self.customers:
            customer.join(timeout_s + ANSWER_WITHIN_S)

    def told(self) -> dict[str, Told]:
        return {key: told for customer in self.customers for key, told in customer.told.items()}

    def unanswered(self) -> list[str]:
        return [key for customer in self.customers for key in customer.unanswered]

    def doubled(self) -> list[str]:
        """Keys that were answered with one object first and with another later."""
        return [key for customer in self.customers for key in customer.doubled]

    def odd(self) -> list[str]:
        return [what for customer in self.customers for what in customer.odd]

    def attempts(self) -> list[Attempt]:
        return [attempt for customer in self.customers for attempt in customer.attempts]

    def statuses(self) -> Counter[int]:
        return Counter(attempt.status for attempt in self.attempts())


class Customer(threading.Thread):
    """Asks one thing after the other."""

    def __init__(self, port: int, books: Books, number: int) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_WITHIN_S)
        self._books, self._number = books, number
        self._random = random.Random(number)
        self.is_done = threading.Event()
        self.give_up_at = float("inf")
        self.told: dict[str, Told] = {}
        self.unanswered: list[str] = []
        self.doubled: list[str] = []
        self.odd: list[str] = []
        self.attempts: list[Attempt] = []

    def run(self) -> None:
        count = 0
        while not self.is_done.is_set():
            ask = self._next(f"{self._number}-{count}")
            count += 1
            told = self._until_told(ask)
            if told is None:
                self.unanswered.append(ask.key)
                continue
            self.told[ask.key] = told
            if told.id is not None and self._random.random() < AGAIN:
                again = self._until_told(ask)
                if again is not None and again.id != told.id:
                    self.doubled.append(ask.key)
        self._connection.close()

    def _next(self, key: str) -> Ask:
        kind = self._random.choices(("accepted", "waited", "batch"), (6, 3, 1))[0]
        if kind != "batch":
            prefer = "wait=2" if kind == "waited" else ""
            return Ask(key, kind, "/v2/transactions", prefer, json.dumps(self._transfer()))
        # Some are posted at once, some in turns.
        prefer = self._random.choice(("", "respond-async"))
        body = {"mode": "partial", "items": [self._transfer() for _ in range(BATCH_SIZE)]}
        return Ask(key, kind, "/v2/transactions/batch", prefer, json.dumps(body))

    def _transfer(self) -> dict[str, Any]:
        debit, credit = self._random.sample(self._books.accounts, 2)
        return transfer("transfer", debit, credit, f"{self._random.randint(1, AMOUNT_MINOR_MAX) / 100:.2f}")

    def _until_told(self, ask: Ask) -> Told | None:
        """Send until there is an answer that is no `come again`; None when it is time to give up."""
        while time.monotonic() < self.give_up_at:
            status, document = self._send(ask)
            if status in (201, 202, 207):
                return Told(ask.kind, status, document["id"], document.get("receipt_code"))
            code = document.get("code")
            if status == 409 and code != IN_USE:
                return Told(ask.kind, status, document.get("transaction_id"), document.get("receipt_code"))
            if status not in (BROKEN, 409, 503):
                self.odd.append(f"{status} {code} {document.get('detail')} {document.get('request_id')}")
            time.sleep(self._random.uniform(0.05, 0.2))
        return None

    def _send(self, ask: Ask) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._books.key}", "Idempotency-Key": ask.key}
        headers |= {"Content-Type": "application/json"} | ({"Prefer": ask.prefer} if ask.prefer else {})
        begun, status = time.monotonic(), BROKEN
        try:
            self._connection.request("POST", ask.path, ask.body, headers)
            answer = self._connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
            status = answer.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            document = {}
        self.attempts.append(Attempt(begun, time.monotonic() - begun, status))
        return status, document
