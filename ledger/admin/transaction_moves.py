"""What staff do to transactions that stand: capture, let go, take back, and have posted again what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from config.api.backoffice.asking import AskingAdmin, Question
from config.runtime.clock import now
from ledger.actors import wake_posters
from ledger.domain.money import format_amount
from ledger.domain.states import Status
from ledger.models import Transaction
from ledger.services.holds import capture_transaction, void_transaction
from ledger.services.reprocess import STAFF_ATTEMPTS_MAX, STAFF_CODES, reprocess_transaction
from ledger.services.reversals import Reversal, reverse_transaction


@dataclass(frozen=True, slots=True)
class MoveQuestion(Question):
    """`tells` says what will happen, `left` of how much of a transaction: zero where its state does not allow it."""

    tells: str = ""
    left: Callable[[Transaction], int] = lambda row: row.amount_minor


@dataclass(frozen=True, slots=True)
class Plan:
    """What a question shows of a transaction: `left` is what will move, empty where nothing can."""

    row: Transaction
    amount: str
    left: str


def held_minor(row: Transaction) -> int:
    """Return what is still held, for captures as much as to be let go."""
    is_held = row.status == Status.PENDING and row.expires_at is not None and row.expires_at > now()
    return row.amount_minor - row.booked_minor if is_held else 0


def reversible_minor(row: Transaction) -> int:
    """Return what can still be taken back."""
    is_booked = row.status == Status.COMPLETED and row.reverses_id is None
    return row.booked_minor - row.reversed_minor if is_booked else 0


def retriable_minor(row: Transaction) -> int:
    """Return what staff may have posted again."""
    is_mended = row.error_code in STAFF_CODES and row.attempts < STAFF_ATTEMPTS_MAX
    return row.amount_minor if row.status == Status.FAILED and is_mended else 0


def amount_of(row: Transaction, minor: int) -> str:
    """Return an amount of a transaction in major units."""
    return format_amount(minor, exponent=row.currency.exponent)


def _capture(row: Transaction, **asked: Any) -> None:
    # The amount that was shown, and not what is left by now: who captures meanwhile makes it be refused.
    capture_transaction(amount=_shown(row, held_minor(row)), is_final=True, **_audited(row), **asked)


def _void(row: Transaction, **asked: Any) -> None:
    void_transaction(**_audited(row), **asked)


def _reverse(row: Transaction, *, reason: str, **asked: Any) -> None:
    reversal = Reversal(amount=_shown(row, reversible_minor(row)), reason=reason)
    made = reverse_transaction(reversal=reversal, **_audited(row), **asked)
    if made.failure is not None:
        raise made.failure


def _retry(row: Transaction, **asked: Any) -> None:
    reprocess_transaction(client_id=row.client_id, transaction_id=row.pk, **asked)
    wake_posters()


def _audited(row: Transaction) -> dict[str, Any]:
    return {"client_id": row.client_id, "transaction_id": row.pk, "is_audited": True}


def _shown(row: Transaction, left_minor: int) -> str | None:
    """Return what was shown as an amount; None where nothing was, which the service refuses by its name."""
    return amount_of(row, left_minor) if left_minor else None


CAPTURE = MoveQuestion(
    "Capture",
    "Captured",
    _capture,
    tells="All that is still held is booked, from the debit account to the credit account.",
    left=held_minor,
)
VOID = MoveQuestion(
    "Void",
    "Voided",
    _void,
    tells="All that is still held is let go, and can be spent again from the debit account. What was captured stays.",
    left=held_minor,
)
REVERSE = MoveQuestion(
    "Reverse",
    "Reversed",
    _reverse,
    tells="All that was booked and is not taken back yet is booked back, from the credit account to the debit account, "
    "by a transaction of its own. A reversal cannot be reversed.",
    left=reversible_minor,
)
RETRY = MoveQuestion(
    "Retry",
    "On their way again",
    _retry,
    tells="What failed goes back into the posting queue, and is judged anew by what stands on its accounts then.",
    left=retriable_minor,
)


class TransactionMovesAdmin(AskingAdmin):
    """The actions, each with a permission of its own; nobody edits a transaction otherwise."""

    actions = ("capture", "void", "reverse", "retry")
    ask_template = "admin/ledger/transaction/ask.html"

    def has_capture_permission(self, request: HttpRequest) -> bool:
        """Whether staff may book what is held."""
        return request.user.has_perm("ledger.capture_transaction")

    def has_void_permission(self, request: HttpRequest) -> bool:
        """Whether staff may let go what is held."""
        return request.user.has_perm("ledger.void_transaction")

    def has_reverse_permission(self, request: HttpRequest) -> bool:
        """Whether staff may take back what was booked."""
        return request.user.has_perm("ledger.reverse_transaction")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether staff may have posted again what failed."""
        return request.user.has_perm("ledger.retry_transaction")

    @admin.action(description="Capture in full what the selected transactions hold…", permissions=["capture"])
    def capture(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> HttpResponse | None:
        return self.ask(request, queryset, CAPTURE)

    @admin.action(description="Void what the selected transactions hold…", permissions=["void"])
    def void(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> HttpResponse | None:
        return self.ask(request, queryset, VOID)

    @admin.action(description="Reverse the selected transactions in full…", permissions=["reverse"])
    def reverse(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> HttpResponse | None:
        return self.ask(request, queryset, REVERSE)

    @admin.action(description="Retry the selected transactions…", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Transaction]) -> HttpResponse | None:
        return self.ask(request, queryset, RETRY)

    def seen(self, row: Transaction) -> str:
        return f"{row.version} {row.attempts}"

    def shown(self, question: Question, rows: list[Transaction]) -> dict[str, Any]:
        assert isinstance(question, MoveQuestion)
        plans = [Plan(row, amount_of(row, row.amount_minor), _shown(row, question.left(row)) or "") for row in rows]
        return {"plans": plans, "tells": question.tells, "refused": sum(not plan.left for plan in plans)}

    def possible(self, row: Transaction) -> Mapping[str, str]:
        asked = {"capture": CAPTURE, "void": VOID, "reverse": REVERSE, "retry": RETRY}
        return {name: question.verb for name, question in asked.items() if question.left(row)}
