"""What a batch has to be before any of its items is looked at; what breaks a rule here is refused as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from config.runtime.errors import Invalid
from ledger.domain.batches import BatchMode
from ledger.errors import BatchEmpty, BatchTooLarge, GroupInAtomicBatch, GroupTooLarge, ItemKeyRepeated
from ledger.models import Transaction
from ledger.services.submissions import Submission

ITEMS_MAX = 1_000
ITEMS_ASYNC_MAX = 10_000
GROUP_SIZE_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item that is no transaction: what is wrong with it, and the key and the group that it names all the same."""

    refusal: Invalid
    idempotency_key: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An item that takes a transaction back, as far as it is not yet."""

    row: Transaction
    idempotency_key: None = None
    group: None = None


Item = Submission | Unreadable | TakenBack


def check_size(count: int, *, mode: BatchMode, is_dry: bool = False) -> None:
    """Refuse a batch without items, or with too many: one that is answered at once fits into one round.

    Raises:
        BatchEmpty, BatchTooLarge
    """
    size_max = ITEMS_ASYNC_MAX if mode is BatchMode.PARTIAL and not is_dry else ITEMS_MAX
    if not count:
        raise BatchEmpty.at("/items")
    if count > size_max:
        raise BatchTooLarge.at("/items", detail=f"The batch has {count} items; this one may have {size_max}.")


def check_items(items: Sequence[Item], *, mode: BatchMode, key: str) -> None:
    """Refuse keys that repeat, and groups where they cannot be; `key` is the batch's own.

    Raises:
        ItemKeyRepeated, GroupInAtomicBatch, GroupTooLarge
    """
    seen, sizes = {key}, Counter[str]()
    for index, item in enumerate(items):
        if item.idempotency_key is not None:
            if item.idempotency_key in seen:
                raise ItemKeyRepeated.at(f"/items/{index}/idempotency_key")
            seen.add(item.idempotency_key)
        if item.group is not None:
            _check_group(index, item.group, sizes, mode)


def _check_group(index: int, group: str, sizes: Counter[str], mode: BatchMode) -> None:
    if mode is BatchMode.ATOMIC:
        raise GroupInAtomicBatch.at(f"/items/{index}/group")
    sizes[group] += 1
    if sizes[group] > GROUP_SIZE_MAX:
        raise GroupTooLarge.at(f"/items/{index}/group")
