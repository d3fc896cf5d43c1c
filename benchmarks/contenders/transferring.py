"""Books transfers between wallets, so that their users' lists are filled: as many as the last argument says."""

from __future__ import annotations

import random
import sys

from benchmarks.contenders.loop import ACCOUNTS, CLIENT, Transfer
from benchmarks.contenders.ours import Prepared
from benchmarks.zipf import users
from ledger.clients.models import Client
from ledger.posting.engine import ROUND_SIZE_MAX, post


def main() -> None:
    prepared = Prepared(Client.objects.get(name=CLIENT).pk)
    source, chosen = random.Random(3), users(random.Random(4), ACCOUNTS)
    for _ in range(int(sys.argv[-1]) // ROUND_SIZE_MAX):
        pairs = (sorted({next(chosen), next(chosen)}) for _ in range(ROUND_SIZE_MAX))
        transfers = [Transfer(pair[0], pair[1], source.randint(1, 100)) for pair in pairs if len(pair) > 1]
        assert all(outcome.transaction for outcome in post(prepared.intents(transfers)))
