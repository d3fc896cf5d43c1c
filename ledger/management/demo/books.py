"""The demo's money: the same people, accounts and transactions on every machine."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count

from ledger.clients.models import Client
from ledger.domain.accounts import AccountKind, Frozen
from ledger.domain.money import format_amount
from ledger.errors import AccountAlreadyFrozen
from ledger.kinds import KINDS
from ledger.models import Account, Transaction
from ledger.services.account_changes import freeze_account
from ledger.services.accounts import Opening, open_accounts
from ledger.services.submissions import Submission
from ledger.services.transactions import Submitted, submit_transactions

ACTOR = "command:make_demo"
CURRENCY, EXPONENT = "USD", 2
ALICE_HOLDS = 1_000_000_00
CLOSING_KEY = "demo:closing"

_SEED = 1729
_RANDOM_BOOKINGS = 360
_FROZEN = "mallory"
_PEOPLE = (
    *("carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken", "laura", "niaj", "olivia"),
    *("peggy", "quinn", "rupert", "sybil", "trent", "uma", "victor", "walter", "xena", "yusuf", "zoe", "amir"),
)
_TYPES = ("transfer", "transfer", "transfer", "card", "card", "cash_in", "cash_out", "fee", "interest")
_TYPES_WITH_BANKS = (*_TYPES, "bank_transfer_in", "bank_transfer_out")


def make_books(client: Client, *, now: datetime) -> None:
    """Open the accounts and book the transactions, unless they stand already; then alice holds ALICE_HOLDS.

    Broken off and run again it books what is missing. What people do with the demo afterwards stays as it is.
    """
    if Transaction.objects.filter(client=client, idempotency_key=CLOSING_KEY).exists():
        return
    open_accounts(client_id=client.pk, openings=[*_counter_openings(), *map(_opening, ("alice", "bob", *_people()))])
    _book(client, list(_funding()), now)
    with suppress(AccountAlreadyFrozen):
        freeze_account(
            client_id=client.pk,
            account_id=account_of(client, _FROZEN).public_id,
            sides=Frozen.DEBITS,
            actor=ACTOR,
            reason="The owner reported a stolen card.",
        )
    _book(client, [*_random_bookings(), *_bookings_of_alice()], now)


def account_of(client: Client, name: str) -> Account:
    """Return a person's account."""
    return Account.objects.get(client=client, path=_path(name))


def _people() -> tuple[str, ...]:
    return (*_PEOPLE, _FROZEN)


def _path(name: str) -> str:
    return f"users:{name}:{CURRENCY}"


def _opening(name: str) -> Opening:
    return Opening(path=_path(name), currency=CURRENCY, kind=AccountKind.LIABILITY, user_id=name, floor="0.00")


def _counter_openings() -> list[Opening]:
    counters = {kind.counter for kind in KINDS.values() if kind.counter is not None}
    return [Opening(path=f"{one.prefix}:{CURRENCY}", currency=CURRENCY, kind=one.kind) for one in counters]


def _funding() -> Iterator[Submission]:
    dice = _dice("funding")
    for name in _people():
        yield _booking(f"demo:funding:{name}", "cash_in", name, dice.randrange(500_00, 5_000_00), "Opening deposit")
    yield _booking("demo:funding:bob", "cash_in", "bob", 25_000_00, "Opening deposit")
    yield _booking("demo:funding:alice", "bank_transfer_in", "alice", 950_000_00, "Sale of the house")


def _random_bookings() -> Iterator[Submission]:
    """Everyday bookings between everybody but alice; a few are for more than anybody has, and will fail."""
    dice, people = _dice("everyday"), ("bob", *_people())
    for number in range(_RANDOM_BOOKINGS):
        amount_minor = dice.randrange(2_000_000_00, 3_000_000_00) if number % 20 == 0 else dice.randrange(1_00, 250_00)
        kind = "transfer" if number % 20 == 0 else dice.choice(_TYPES_WITH_BANKS)
        payer, payee = dice.sample(people, 2)
        yield _booking(
            f"demo:everyday:{number}", kind, payer, amount_minor, f"Everyday booking {number + 1}", payee=payee
        )


def _bookings_of_alice() -> Iterator[Submission]:
    """None of these can fail; the last one makes up what is missing."""
    dice, numbers = _dice("alice"), count(1)
    holds = 950_000_00
    for name in ("bob", *_PEOPLE):
        amount_minor = dice.randrange(5_00, 400_00)
        holds -= amount_minor
        yield _booking(f"demo:alice:{next(numbers)}", "transfer", "alice", amount_minor, "Thank you", payee=name)
    for kind, amount_minor in (("card", 129_90), ("fee", 4_50), ("cash_out", 300_00)):
        holds -= amount_minor
        yield _booking(f"demo:alice:{next(numbers)}", kind, "alice", amount_minor, KINDS[kind].summary)
    yield _booking(CLOSING_KEY, "bank_transfer_in", "alice", ALICE_HOLDS - holds, "Savings")


def _booking(key: str, kind: str, name: str, amount_minor: int, description: str, *, payee: str = "") -> Submission:
    counter = KINDS[kind].counter
    other = _path(payee) if counter is None else f"{counter.prefix}:{CURRENCY}"
    debit, credit = (_path(name), other) if KINDS[kind].customer_is_debited else (other, _path(name))
    amount = format_amount(amount_minor, exponent=EXPONENT)
    return Submission(
        type=kind,
        debit_account=debit,
        credit_account=credit,
        amount=amount,
        currency=CURRENCY,
        description=description,
        idempotency_key=key,
        request_hash=hashlib.sha256(f"{key}\n{kind}\n{debit}\n{credit}\n{amount}".encode()).digest(),
    )


def _book(client: Client, submissions: Sequence[Submission], now: datetime) -> None:
    for result in submit_transactions(client_id=client.pk, submissions=submissions, actor=ACTOR, now=now):
        if not isinstance(result, Submitted):
            raise result


def _dice(purpose: str) -> random.Random:
    return random.Random(f"{_SEED} {purpose}")  # noqa: S311  (data that is equal everywhere, no secret)
