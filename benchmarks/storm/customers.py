"""Who sends in a storm: each asks until it is answered, always with the same key, and remembers what it was told.

Between two requests each looks how far what it was given has come.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter, deque
from typing import Any, NamedTuple

from benchmarks.storm.ground import Books, transfer
from config.localstack.ports import HOST

CUSTOMERS = 12
ANSWER_WITHIN_S = 20.0
BATCH_SIZE = 20
AGAIN = 0.05
AMOUNT_MINOR_MAX = 6_000
POLLS, RECENT = 2, 20
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


class Sight(NamedTuple):
    """Where a transaction stood by one answer, which was asked for and had come at these times of the monotonic clock.

    All answers on one connection are of one process.
    """

    id: str
    connection: str
    begun: float
    ended: float
    status: str
    version: int


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

    def sights(self) -> list[Sight]:
        """All that was shown of transactions, of each connection in the order of its answers."""
        return [sight for customer in self.customers for sight in customer.sights]

    def statuses(self) -> Counter[int]:
        return Counter(attempt.status for attempt in self.attempts())


class Customer(threading.Thread):
    """Asks one thing after the other."""

    def __init__(self, port: int, books: Books, number: int) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_WITHIN_S)
        self._books, self._number = books, number
        self._random = random.Random(number)
        self._connections = 0
        self._recent: deque[Told] = deque(maxlen=RECENT)
        self.is_done = threading.Event()
        self.give_up_at = float("inf")
        self.told: dict[str, Told] = {}
        self.unanswered: list[str] = []
        self.doubled: list[str] = []
        self.odd: list[str] = []
        self.attempts: list[Attempt] = []
        self.sights: list[Sight] = []

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
            if told.receipt is not None:
                self._recent.append(told)
            for one in self._random.sample(self._recent, min(POLLS, len(self._recent))):
                self._poll(one)
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

    def _poll(self, told: Told) -> None:
        """Look where a transaction stands, by its id or its receipt; an absent service shows nothing."""
        path = self._random.choice((f"/v2/transactions/{told.id}/status", f"/v2/receipts/{told.receipt}"))
        status, document = self._send("GET", path, "", {})
        if status not in (200, BROKEN, 503):
            self._note_odd(status, document)

    def _until_told(self, ask: Ask) -> Told | None:
        """Send until there is an answer that is no `come again`; None when it is time to give up."""
        headers = {"Idempotency-Key": ask.key, "Content-Type": "application/json"}
        headers |= {"Prefer": ask.prefer} if ask.prefer else {}
        while time.monotonic() < self.give_up_at:
            status, document = self._send("POST", ask.path, ask.body, headers)
            if status in (201, 202, 207):
                return Told(ask.kind, status, document["id"], document.get("receipt_code"))
            code = document.get("code")
            if status == 409 and code != IN_USE:
                return Told(ask.kind, status, document.get("transaction_id"), document.get("receipt_code"))
            if status not in (BROKEN, 409, 503):
                self._note_odd(status, document)
            time.sleep(self._random.uniform(0.05, 0.2))
        return None

    def _note_odd(self, status: int, document: dict[str, Any]) -> None:
        self.odd.append(f"{status} {document.get('code')} {document.get('detail')} {document.get('request_id')}")

    def _send(self, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self._connection.sock is None:
            self._connections += 1
        begun, status = time.monotonic(), BROKEN
        try:
            self._connection.request(method, path, body, {"Authorization": f"Bearer {self._books.key}"} | headers)
            answer = self._connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
            status = answer.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            document = {}
        ended = time.monotonic()
        self.attempts.append(Attempt(begun, ended - begun, status))
        if "version" in document:
            connection = f"{self._number}-{self._connections}"
            self.sights.append(Sight(document["id"], connection, begun, ended, document["status"], document["version"]))
        return status, document
