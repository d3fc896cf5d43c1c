"""What staff do to dead letters: have their messages handled again, or give them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from config.api.backoffice.asking import AskingAdmin, Question
from config.api.backoffice.shown import moment
from ledger.admin.messages import short
from ledger.events.models import DeadLetter, LetterStatus
from ledger.events.replay import is_handled
from ledger.services.dead_letters import STAFF_REPLAYS_MAX, discard_dead_letter, replay_dead_letter


@dataclass(frozen=True, slots=True)
class LetterQuestion(Question):
    """`tells` says what will happen."""

    tells: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a question shows of a letter: `objection` is what it will be refused for, if anything."""

    row: DeadLetter
    recorded: str
    key: str
    objection: str


def _replay(row: DeadLetter, **asked: Any) -> None:
    handled = replay_dead_letter(letter_id=row.pk, replays_max=STAFF_REPLAYS_MAX, **asked)
    if handled.failure is not None:
        raise handled.failure


def _discard(row: DeadLetter, **asked: Any) -> None:
    discard_dead_letter(letter_id=row.pk, **asked)


REPLAY = LetterQuestion(
    "Replay",
    "Replayed",
    _replay,
    tells="Each message goes again to what could not handle it, the oldest first. One that fails again stays open, and "
    "those of its consumer and key wait behind it.",
)
DISCARD = LetterQuestion(
    "Discard",
    "Discarded",
    _discard,
    tells="Nobody will handle what is discarded. It stays here to be looked at.",
)


class DeadLetterMovesAdmin(AskingAdmin):
    """The actions, each with a permission of its own; nobody edits a dead letter otherwise."""

    actions = ("replay", "discard")
    ask_template = "admin/events/deadletter/ask.html"

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether staff may have messages handled again."""
        return request.user.has_perm("events.replay_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether staff may give messages up."""
        return request.user.has_perm("events.discard_deadletter")

    @admin.action(description="Replay the selected dead letters…", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self.ask(request, queryset, REPLAY)

    @admin.action(description="Discard the selected dead letters…", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        return self.ask(request, queryset, DISCARD)

    def seen(self, row: DeadLetter) -> str:
        return f"{row.status} {row.replay_count} {row.attempts}"

    def shown(self, question: Question, rows: list[DeadLetter]) -> dict[str, Any]:
        assert isinstance(question, LetterQuestion)
        is_replay = question is REPLAY
        plans = [
            Plan(row, moment(row.created_at), short(row.key), _objection(row, is_replay=is_replay)) for row in rows
        ]
        refused = sum(bool(plan.objection) for plan in plans)
        return {"plans": plans, "tells": question.tells, "refused": refused, "is_danger": not is_replay}

    def possible(self, row: DeadLetter) -> Mapping[str, str]:
        asked = {"replay": REPLAY, "discard": DISCARD}
        return {name: one.verb for name, one in asked.items() if not _objection(row, is_replay=one is REPLAY)}


def _objection(row: DeadLetter, *, is_replay: bool) -> str:
    """Return what a letter would be refused for, as far as it itself shows it."""
    if row.status != LetterStatus.OPEN:
        return f"it was {row.status}"
    if not is_replay:
        return ""
    if row.replay_count >= STAFF_REPLAYS_MAX:
        return f"it was replayed {row.replay_count} times"
    return "" if is_handled(row.consumer) else f"nobody handles {row.kind} again"
