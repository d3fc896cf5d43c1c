"""If-Match: an account changes only as it was read, and what cannot look at a condition does not act on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from config.localstack.processes import wait_until
from tests.ledger.locks import in_thread, locked, waiting_for_locks
from tests.ledger.routes import Operation, operations
from tests.people import Tenant

WHY = {"reason": "court order 17/2026"}
CHANGES: dict[str, dict[str, Any]] = {
    "freeze": {},
    "unfreeze": {},
    "close": {},
    "reopen": {},
    "limits": {"ceiling": "500.00"},
}


def change(bank: Tenant, account: Any, action: str, if_match: str, *, key: str | None = None) -> Any:
    sent = WHY | CHANGES[action]
    return bank.post(f"/v2/accounts/{account.id}/{action}", sent, key=key, **{"If-Match": if_match})


def etag(bank: Tenant, account: Any) -> str:
    return str(bank.get(f"/v2/accounts/{account.id}")["ETag"])


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("action", CHANGES)
def test_an_account_changes_only_as_it_was_read(bank: Tenant, action: str) -> None:
    alice = bank.person("alice")
    before = {"unfreeze": "freeze", "reopen": "close"}.get(action)
    if before:
        assert change(bank, alice, before, "*").status_code == 200
    read = etag(bank, alice)

    refused = change(bank, alice, action, '"another"', key="once")
    assert code(refused) == (412, "precondition_failed")
    assert refused["Content-Type"] == "application/problem+json"
    assert etag(bank, alice) == read

    done = change(bank, alice, action, read, key="once")
    assert (done.status_code, done.get("Idempotent-Replayed")) == (200, None)
    assert etag(bank, alice) != read


def test_an_answer_names_the_state_from_which_the_next_change_goes_on(bank: Tenant) -> None:
    alice = bank.person("alice")

    frozen = change(bank, alice, "freeze", etag(bank, alice))

    assert (frozen["ETag"], frozen["Content-Location"]) == (etag(bank, alice), f"/v2/accounts/{alice.id}")
    assert change(bank, alice, "unfreeze", frozen["ETag"]).status_code == 200
    assert code(change(bank, alice, "freeze", frozen["ETag"])) == (412, "precondition_failed")


def test_a_booking_alters_what_was_read(bank: Tenant) -> None:
    alice = bank.person("alice")
    read = etag(bank, alice)

    bank.move("cash:USD", alice.path, "1.00")

    assert code(change(bank, alice, "limits", read)) == (412, "precondition_failed")


# What is sent, by the tag of the account, and what comes of it.
TAGS = {
    "any": ("*", 200),
    "one of several": ('"another", {tag}', 200),
    "none of several": ('"another", "third"', 412),
    "a star as a tag": ('"*"', 412),
    "a weak one": ("W/{tag}", 412),
    "a weak one of several": ('W/{tag}, "another"', 412),
    "without quotes": ("another", 412),
    "nothing": ("", 412),
}


@pytest.mark.parametrize(("sent", "status"), TAGS.values(), ids=TAGS)
def test_tags_are_compared_strongly(bank: Tenant, sent: str, status: int) -> None:
    alice = bank.person("alice")

    assert change(bank, alice, "freeze", sent.format(tag=etag(bank, alice))).status_code == status


def test_who_read_it_compressed_sends_the_tag_without_its_mark(bank: Tenant) -> None:
    metadata = {f"key{number}": "the same again and again" for number in range(50)}
    box = bank.open("box", metadata=metadata)
    read = bank.http().get(f"/v2/accounts/{box.id}", headers={"Accept-Encoding": "gzip"})
    assert (read["Content-Encoding"], read["ETag"][:2]) == ("gzip", "W/")

    refused = change(bank, box, "freeze", read["ETag"])

    assert code(refused) == (412, "precondition_failed")
    assert "W/" in refused.json()["detail"]
    assert change(bank, box, "freeze", read["ETag"].removeprefix("W/")).status_code == 200


def test_of_two_that_know_the_same_state_one_wins(bank: Tenant) -> None:
    alice = bank.person("alice")
    read = etag(bank, alice)

    with locked(alice) as holder, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(in_thread, partial(change, bank, alice, action, read)) for action in ("freeze", "limits")]
        assert wait_until(lambda: waiting_for_locks() == 2, timeout_s=4)
        holder.execute("COMMIT")
        statuses = [one.result().status_code for one in asked]

    assert sorted(statuses) == [200, 412]
    assert len(bank.get(f"/v2/accounts/{alice.id}/history").json()["data"]) == 1


def test_a_repetition_is_answered_though_the_state_is_another_by_now(bank: Tenant) -> None:
    alice = bank.person("alice")
    read = etag(bank, alice)
    change(bank, alice, "freeze", read, key="once")

    again = change(bank, alice, "freeze", read, key="once")

    assert (again.status_code, again["Idempotent-Replayed"], again["ETag"]) == (200, "true", etag(bank, alice))


def test_a_strangers_account_is_not_there_whatever_the_condition(bank: Tenant, other_bank: Tenant) -> None:
    mallory = other_bank.person("mallory")

    assert code(change(bank, mallory, "freeze", "*")) == (404, "not_found")


@pytest.mark.parametrize("operation", [one for one in operations() if one.method not in {"GET", "HEAD"}], ids=str)
def test_a_condition_that_nobody_looks_at_is_refused(bank: Tenant, operation: Operation) -> None:
    looks = operation.url.startswith("/v2/accounts/")
    for name in ("If-None-Match",) if looks else ("If-None-Match", "If-Match"):
        assert code(bank.post(operation.url, {}, **{name: "*"})) == (400, "precondition_unsupported")
