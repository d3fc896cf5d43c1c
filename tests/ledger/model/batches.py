"""Batches in plain Python: at once or in turns, item by item, in groups, or all of it together."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from tests.ledger.model.asks import Answer, Ask, Tried
from tests.ledger.model.books import ENOUGH, NEVER, PASSING, TOO_MANY, Moment
from tests.ledger.model.reversals import Reversals

MATE = Answer("group_refused")
WAITING = Answer("waiting")
# What stands for a booking beside the others of a group; and how a replay of something else is refused there.
BOOKED = {"completed", "pending", "reversed"}
UNBOOKED = {"processing": "idempotency_key_in_use", "voided": "hold_voided", "expired": "hold_expired"}
NOTHING_LEFT = {"failed", "voided", "expired", "reversed"}


@dataclass
class Item:
    """One item of a batch: it waits until it has an outcome; if that has a label, the transaction tells the rest."""

    ask: Ask
    outcome: Answer | None = None
    attempts: int = 0

    @property
    def stored(self) -> tuple[str, bool] | None:
        if self.outcome is None:
            return None
        code, label, replayed, retryable = self.outcome
        return (code, retryable) if label is None else (label, replayed)


@dataclass
class Batch:
    """The items of one request, and when the next turn is while some of them wait."""

    mode: str
    items: list[Item]
    due: Moment = NEVER

    @property
    def waiting(self) -> list[Item]:
        return [item for item in self.items if item.outcome is None]

    @property
    def status(self) -> str:
        if self.waiting:
            return "processing"
        is_refused = any(item.outcome is not None and item.outcome.label is None for item in self.items)
        return "failed" if self.mode == "atomic" and is_refused else "completed"

    def units(self) -> list[list[Item]]:
        """Return what is booked together, of that which waits, in the order of the first of each."""
        units: dict[Any, list[Item]] = {}
        for place, item in enumerate(self.waiting):
            units.setdefault("all" if self.mode == "atomic" else item.ask.group or place, []).append(item)
        return list(units.values())


@dataclass
class Batches(Reversals):
    """The books with batches, by label."""

    batches: dict[str, Batch] = field(default_factory=dict)

    def batch(self, label: str, mode: str, asks: list[Ask], key: str, *, in_turns: bool = False) -> Answer:
        """Book a batch at once, or store it to be booked in turns, which an atomic one never is."""
        if _is_repeated(key, asks):
            return Answer("item_key_repeated")
        body = ("batch", mode, [(ask.body, ask.key, ask.group) for ask in asks])
        known = self._known(key, body)
        if known is not None:
            return known
        batch = self.batches[label] = Batch(mode, [Item(ask) for ask in asks])
        for unit in batch.units():
            if not in_turns or mode == "atomic" or self._is_refused_unseen(unit):
                self._post_unit(unit, mode)
        if batch.waiting:
            batch.due = self._moment()
        self._keep(key, body, label)
        return Answer(batch.status, label)

    def try_batch(self, mode: str, asks: list[Ask], key: str) -> Answer | Tried:
        """Say what a batch would come to, whatever its keys were used for, without a trace."""
        if _is_repeated(key, asks):
            return Answer("item_key_repeated")
        trial = deepcopy(self)
        trial.keys.pop(key, None)
        told = trial.batch("tried", mode, [replace(ask, key=None) for ask in asks], key)
        if told.label is None:
            return told
        items = trial.items("tried")
        if told.code == "completed":
            return Tried("completed", items)
        return Tried("batch_refused", [(place, one.code) for place, one in enumerate(items) if _is_culprit(one)])

    def post_due_batch(self, size: int, locked: str | None = None) -> int:
        """Give a turn to the batch that has waited longest; return how many of its items have their outcome now."""
        batch = min(self.batches.values(), key=lambda one: one.due, default=None)
        if batch is None or batch.due[0] > self.hour:
            return 0
        chosen: list[Item] = []
        stuck: list[Item] = []
        for unit in batch.units():
            if len(chosen) >= size:
                break
            chosen += unit
            if self._is_stuck(unit, locked):
                stuck += unit
            else:
                self._post_unit(unit, batch.mode)
        for item in stuck:
            item.attempts += 1
            if item.attempts in {ENOUGH, TOO_MANY}:
                item.outcome = Answer("contention", retryable=item.attempts < TOO_MANY)
        is_paused = any(item.outcome is None for item in stuck)
        batch.due = self._moment(hours=1 if is_paused else 0) if batch.waiting else NEVER
        return sum(item.outcome is not None for item in chosen)

    def retry_batch(self, label: str, key: str | None) -> Answer:
        """Let wait again what of a batch failed for a passing reason: transfers, and items that have none."""
        known = self._known(key, ("retry batch", label))
        if known is not None:
            return known
        batch = self.batches[label]
        standing = list(zip(batch.items, self.items(label), strict=True))
        found = [(item, answer) for item, answer in standing if answer.retryable]
        if not found and batch.waiting:
            return Answer("still_processing")
        if not found:
            is_parked = any(answer.code in PASSING for _, answer in standing)
            return Answer("parked" if is_parked else "not_retryable")
        due = batch.due if batch.waiting else self._moment()
        failed = {answer.label for _, answer in found}
        for one in self.transactions.values():
            if one.ask.label in failed:
                one.move("processing", one.agreed.amount, due=self._moment())
        for item, answer in found:
            if answer.label is None:
                item.outcome, batch.due = None, due
        self._keep(key, ("retry batch", label), label)
        return Answer(batch.status, label)

    def reverse_batch(self, label: str, of: str, key: str) -> Answer:
        """Take back all that is booked of a batch, or nothing, by an atomic batch of its own."""
        known = self._known(key, ("reverse batch", of))
        if known is not None:
            return known
        made = [item.outcome.label for item in self.batches[of].items if item.outcome and not item.outcome.replayed]
        left = [one for one in made if one is not None and self.transactions[one].status not in NOTHING_LEFT]
        if self.batches[of].waiting or any(self.transactions[one].status == "processing" for one in left):
            return Answer("still_processing")
        if not left:
            return Answer("not_reversible")
        asks = [Ask(f"{label}#{place}", takes_back=one) for place, one in enumerate(reversed(left))]
        batch = self.batches[label] = Batch("atomic", [Item(ask) for ask in asks])
        self._post_unit(batch.items, "atomic")
        self._keep(key, ("reverse batch", of), label)
        return Answer(batch.status, label)

    def items(self, label: str) -> list[Answer]:
        """Return where the items of a batch stand."""
        return [self._stand(item.outcome or WAITING) for item in self.batches[label].items]

    def results(self) -> dict[str, tuple[Any, ...]]:
        """Return where each batch stands, and what is stored of its items."""
        return {
            label: (batch.status, [(item.stored, item.attempts) for item in batch.items])
            for label, batch in self.batches.items()
        }

    def _stand(self, outcome: Answer) -> Answer:
        if outcome.label is None:
            return outcome
        return self.transactions[outcome.label].answer(replayed=outcome.replayed)

    def _replay(self, label: str) -> Answer:
        if label in self.batches:
            return Answer(self.batches[label].status, label, replayed=True)
        return super()._replay(label)

    def _unfit_item(self, ask: Ask) -> Answer | None:
        return Answer("execute_at_in_batch") if ask.hours else self._unfit(ask)

    def _is_stuck(self, unit: list[Item], locked: str | None) -> bool:
        """Tell whether it needs an account that somebody holds; what is refused unseen needs none."""
        return not self._is_refused_unseen(unit) and any(locked in self.needed(item.ask) for item in unit)

    def _is_refused_unseen(self, unit: list[Item]) -> bool:
        return any(self._unfit_item(item.ask) for item in unit)

    def _post_unit(self, unit: list[Item], mode: str) -> None:
        asks = [item.ask for item in unit]
        if mode == "partial" and asks[0].group is None:
            outcomes = [self._unfit_item(asks[0]) or self.post(asks)[0]]
        else:
            outcomes = self._post_together(asks, all_are_named=mode == "atomic")
        for item, outcome in zip(unit, outcomes, strict=True):
            item.outcome = outcome

    def _post_together(self, asks: list[Ask], *, all_are_named: bool) -> list[Answer]:
        """Book all or none: a group beside one that cannot be booked is refused without a look at the balances."""
        refused = [self._unfit_item(ask) for ask in asks]
        if not any(refused):
            refused = [self._unbooked(ask) for ask in asks]
        if any(refused) and not all_are_named:
            return [one or MATE for one in refused]
        saved = deepcopy((self.boxes, self.transactions, self.keys))
        told = [one or self.post([ask])[0] for one, ask in zip(refused, asks, strict=True)]
        if all(one.code in BOOKED for one in told):
            return told
        self.boxes, self.transactions, self.keys = saved
        return [one if one.replayed and not any(refused) else _of_refused(one) for one in told]

    def _unbooked(self, ask: Ask) -> Answer | None:
        """Return the refusal of a replay of what is not booked."""
        known = self._known(ask.key, ask.body)
        if known is None or known.label is None or known.code in BOOKED:
            return None
        return Answer(UNBOOKED.get(known.code, known.code))


def _is_repeated(key: str, asks: list[Ask]) -> bool:
    keys = [key, *(ask.key for ask in asks if ask.key is not None)]
    return len(set(keys)) < len(keys)


def _of_refused(told: Answer) -> Answer:
    return MATE if told.code in BOOKED or told.replayed else Answer(told.code)


def _is_culprit(told: Answer) -> bool:
    return told.label is None and told != MATE
