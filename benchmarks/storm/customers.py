"""Who sends in a storm: each asks until it is answered, always with the same key, and remembers what it was told.

Between two requests each looks how far what it was given has come.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from benchmarks.storm.books import Books
from config.localstack.ports import HOST

ANSWER_WITHIN_S = 20.0
AGAIN = 0.05
POLLS, RECENT = 2, 20
BROKEN = 0  # stands for the status where no answer came
DONE = (200, 201, 202, 207)
IN_USE, BATCH_REFUSED = "idempotency_key_in_use", "batch_refused"
# A hold may be over before its request has come through.
TOO_LATE = "expires_at_out_of_range"


class Makes(Enum):
    """What a request makes when it is done."""

    TRANSACTION = auto()
    BATCH = auto()
    MOVE = auto()  # of a hold
    CHANGE = auto()  # of an account


class Ask(NamedTuple):
    """One request, which may be sent many times; `key` is its idempotency key and its request id.

    `of` is what it is done to, `amount` how much of that, where it says so.
    """

    key: str
    kind: str
    makes: Makes
    path: str
    body: str
    prefer: str = ""
    of: str | None = None
    amount: str | None = None


class Told(NamedTuple):
    """What a request was answered with for good.

    `id` is of what it made, a transaction with its receipt, or a batch; or of the hold or the account that it moved.
    Without `id` it was refused and nothing was stored. `code` says why it was refused or has failed, `standing` which
    status it had then. `items` are the ids and receipts that a batch showed.
    """

    ask: Ask
    status: int
    id: str | None
    receipt: str | None = None
    code: str = ""
    standing: str | None = None
    items: tuple[tuple[str, str], ...] = ()


class Attempt(NamedTuple):
    """One sending of a request: when, on the monotonic clock, how long it took, and the status."""

    begun: float
    seconds: float
    status: int


class Sight(NamedTuple):
    """Where a transaction stood by one answer, which was asked for and had come at these times of the monotonic clock.

    All answers on one connection are of one process. `captured` is None where the answer does not say.
    """

    id: str
    connection: str
    begun: float
    ended: float
    status: str
    version: int
    captured: str | None = None


@dataclass(frozen=True)
class Board:
    """The latest that may be captured or taken back: all see the same few, and go for them at once."""

    holds: deque[str] = field(default_factory=lambda: deque(maxlen=6))
    paid: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    batches: deque[str] = field(default_factory=lambda: deque(maxlen=3))


class Customer(threading.Thread):
    """Asks one thing after the other."""

    def __init__(self, port: int, books: Books, board: Board, number: int) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_WITHIN_S)
        self.books, self._number = books, number
        self.board = board
        self.chance = random.Random(number)
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

    def next_ask(self, key: str) -> Ask | None:
        """Return what to ask for, None where there is nothing to do for now."""
        raise NotImplementedError

    def note(self, told: Told) -> None:
        """Tell the others what may be done next."""

    def run(self) -> None:
        count = 0
        while not self.is_done.is_set():
            ask = self.next_ask(f"storm-{self._number}-{count}")
            if ask is None:
                self.is_done.wait(0.05)
                continue
            count += 1
            self._ask(ask)
            for one in self.chance.sample(self._recent, min(POLLS, len(self._recent))):
                self._poll(one)
        self._connection.close()

    def _ask(self, ask: Ask) -> None:
        told = self._until_told(ask)
        if told is None:
            self.unanswered.append(ask.key)
            return
        self.told[ask.key] = told
        if told.id is not None and self.chance.random() < AGAIN:
            again = self._until_told(ask)
            if again is not None and again.id != told.id:
                self.doubled.append(ask.key)
        if told.receipt is not None:
            self._recent.append(told)

    def _poll(self, told: Told) -> None:
        """Look where a transaction stands, by its id or its receipt; an absent service shows nothing."""
        path = self.chance.choice((f"/v2/transactions/{told.id}/status", f"/v2/receipts/{told.receipt}"))
        status, document = self._send("GET", path, "", {})
        if status not in (200, BROKEN, 503):
            self._note_odd(status, document)

    def _until_told(self, ask: Ask) -> Told | None:
        """Send until there is an answer that is no `come again`; None when it is time to give up."""
        headers = {"Idempotency-Key": ask.key, "X-Request-ID": ask.key, "Content-Type": "application/json"}
        headers |= {"Prefer": ask.prefer} if ask.prefer else {}
        while time.monotonic() < self.give_up_at:
            status, document = self._send("POST", ask.path, ask.body, headers)
            told = _told(ask, status, document)
            if told is not None:
                if told.status not in (*DONE, 409) and told.code not in (BATCH_REFUSED, TOO_LATE):
                    self._note_odd(status, document)
                self.note(told)
                return told
            if status not in (BROKEN, 409, 503):
                self._note_odd(status, document)
            time.sleep(self.chance.uniform(0.05, 0.2))
        return None

    def _note_odd(self, status: int, document: dict[str, Any]) -> None:
        self.odd.append(f"{status} {document.get('code')} {document.get('detail')} {document.get('request_id')}")

    def _send(self, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self._connection.sock is None:
            self._connections += 1
        begun, status = time.monotonic(), BROKEN
        try:
            self._connection.request(method, path, body, {"Authorization": f"Bearer {self.books.key}"} | headers)
            answer = self._connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
            status = answer.status
        except (OSError, http.client.HTTPException):
            self._connection.close()
            document = {}
        ended = time.monotonic()
        self.attempts.append(Attempt(begun, ended - begun, status))
        if "version" in document:
            self._see(document, begun, ended)
        return status, document

    def _see(self, document: dict[str, Any], begun: float, ended: float) -> None:
        connection = f"{self._number}-{self._connections}"
        stood = document["status"], document["version"], document.get("captured")
        self.sights.append(Sight(document["id"], connection, begun, ended, *stood))


def _told(ask: Ask, status: int, document: dict[str, Any]) -> Told | None:
    """Return what an answer says for good, None if it says `come again`."""
    code = document.get("code", "")
    if status in DONE:
        stood = document.get("status")
        return Told(ask, status, document["id"], document.get("receipt_code"), standing=stood, items=_shown(document))
    if status < 400 or status >= 500 or code == IN_USE:
        return None
    # What the books refused is stored, and named in the refusal.
    stored = document.get("batch_id") if code == BATCH_REFUSED else document.get("transaction_id")
    return Told(ask, status, stored, document.get("receipt_code"), code)


def _shown(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    shown = [item["transaction"] for item in document.get("items", ())]
    return tuple((one["id"], one["receipt_code"]) for one in shown if one is not None)
