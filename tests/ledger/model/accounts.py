"""What is done to accounts themselves, in plain Python."""

from __future__ import annotations

from typing import Any

from tests.ledger.model.asks import Answer
from tests.ledger.model.books import Books


class Accounts(Books):
    """Each change has a key, if any, and is answered with the path of its account."""

    def freeze(self, path: str, sides: str, key: str | None = None) -> Answer:
        return self._change("freeze", path, key, sides)

    def unfreeze(self, path: str, sides: str, key: str | None = None) -> Answer:
        return self._change("unfreeze", path, key, sides)

    def close(self, path: str, key: str | None = None) -> Answer:
        return self._change("close", path, key)

    def reopen(self, path: str, key: str | None = None) -> Answer:
        return self._change("reopen", path, key)

    def limit(self, path: str, limits: dict[str, int | None], key: str | None = None) -> Answer:
        return self._change("limit", path, key, limits)

    def _change(self, operation: str, path: str, key: str | None, *asked: Any) -> Answer:
        # That no limit is named is seen before the key is looked for.
        known = None if asked == ({},) else self._known(key, (operation, path, *asked))
        if known is not None:
            return known
        told = getattr(self.boxes[path], operation)(*asked)
        if told != "changed":
            return Answer(told)
        self._keep(key, (operation, path, *asked), path)
        return Answer("changed", path)

    def _replay(self, label: str) -> Answer:
        return Answer("changed", label, replayed=True) if label in self.boxes else super()._replay(label)
