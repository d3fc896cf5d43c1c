"""`manage.py replay_dead_letters`: staff replay or discard what they choose."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from ledger.events.models import DeadLetter
from ledger.services.dead_letters import REPLAYS_MAX
from tests.commands import Ran, run
from tests.ledger.letters import letter, record, recorded
from tests.ledger.replaying import HANDLED, handlers
from tests.ledger.test_dead_letter_replay import audited, fails
from tests.people import Tenant

__all__ = ["handlers"]


def command(*arguments: Any) -> Ran:
    return run("replay_dead_letters", *arguments)


def statuses(*rows: DeadLetter) -> list[str]:
    return [DeadLetter.objects.get(pk=row.pk).status for row in rows]


def test_what_is_chosen_is_replayed_and_said(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{uuid4()}"
    chosen, other_code = recorded(bank, consumer=consumer), recorded(bank, consumer=consumer, error_code="x", key="")
    other_consumer = recorded(bank)

    ran = command("--consumer", consumer, "--code", "account_unknown", "--reason", "mended")

    assert (ran.code, ran.error) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        [consumer, "account_unknown", "1", "1", "replayable"],
        ["replayed", "1"],
    ]
    assert statuses(chosen, other_code, other_consumer) == ["replayed", "open", "open"]
    assert audited(chosen) == [("dead_letter.replayed", "command:replay_dead_letters", "mended", bank.client.pk)]


def test_what_fails_again_ends_with_status_1_and_is_counted_by_its_code(bank: Tenant, handlers: list[Any]) -> None:
    consumer = f"inbound:{uuid4()}"
    rows = [recorded(bank, consumer=consumer, key=key) for key in ("a", "b", "b")]
    handlers.append(lambda one: fails(one) if one.pk == rows[1].pk else None)
    ran = command("--client", bank.client.name, "--rate", 1000, "--json")
    assert (ran.code, ran.error) == (1, "2 of 3 stay as they are.")
    assert ran.answer == {
        "found": [{"consumer": consumer, "error_code": "account_unknown", "count": 3, "replayable": 3}],
        "done": 1,
        "refused": {"dead_letter_behind": 1, "replay_failed": 1},
    }


def test_a_dry_run_changes_nothing(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    before = DeadLetter.objects.filter(pk=row.pk).values().get()
    for arguments, said in [
        ([], "1 would be replayed of 1. Without --dry-run they are."),
        (["--discard", "--reason", "x"], "1 would be discarded of 1. Without --dry-run they are."),
    ]:
        ran = command("--id", row.pk, "--dry-run", *arguments)
        assert (ran.code, ran.out.splitlines()[-1]) == (0, said)
    assert DeadLetter.objects.filter(pk=row.pk).values().get() == before
    assert (audited(row), HANDLED.total()) == ([], 0)


def test_the_oldest_so_many_alone(bank: Tenant, handlers: list[Any]) -> None:
    ids = record(*[letter(bank) for _ in range(3)])
    ran = command("--client", bank.client.name, "--limit", 2, "--json")
    assert (ran.answer["done"], sum(one["count"] for one in ran.answer["found"])) == (2, 2)
    assert list(HANDLED) == ids[:2]


def test_staff_replay_what_clients_may_no_more(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    DeadLetter.objects.filter(pk=row.pk).update(replay_count=REPLAYS_MAX)
    assert command("--id", row.pk, "--since", "1h").code == 0
    assert statuses(row) == ["replayed"]


def test_what_is_discarded_needs_a_reason(bank: Tenant, handlers: list[Any]) -> None:
    rows = [recorded(bank) for _ in range(2)]
    chosen = ["--id", rows[0].pk, "--id", rows[1].pk]
    refused = command(*chosen, "--discard", "--reason", " ")
    assert (refused.code, refused.error) == (1, "--discard needs a --reason.")
    assert statuses(*rows) == ["open", "open"]

    ran = command(*chosen, "--discard", "--reason", "asked twice", "--json")
    assert (ran.code, ran.answer["done"], ran.answer["refused"]) == (0, 2, {})
    assert statuses(*rows) == ["discarded", "discarded"]
    assert audited(rows[1])[0][:3] == ("dead_letter.discarded", "command:replay_dead_letters", "asked twice")
    assert HANDLED.total() == 0


def test_nobody_replays_everything_unasked(bank: Tenant, handlers: list[Any]) -> None:
    row = recorded(bank)
    ran = command()
    assert (ran.code, ran.error[:20]) == (1, "Say which are meant:")
    assert statuses(row) == ["open"]
    assert command("--dry-run").code == 0


@pytest.mark.parametrize(
    "arguments",
    [["--client", "nobody"], ["--limit", "0"], ["--rate", "-1"], ["--since", "never"], ["--id", "x"]],
)
def test_what_makes_no_sense_is_refused(db: None, arguments: list[str]) -> None:
    assert command(*arguments).code == 1
