"""Staff freeze, close and limit accounts: with a permission, a reason and a look at what will change."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ledger.clients.models import AuditEntry
from ledger.models import Account
from tests.ledger.backoffice import Staff, said, seen
from tests.ledger.test_account_changes import told
from tests.people import Tenant

LIST = "ledger_account_changelist"


@pytest.fixture
def keeper(db) -> Staff:
    return Staff("view_account", "change_account")


def row_of(account: Any) -> Account:
    return Account.objects.select_related("balance").get(public_id=account.id)


def act(staff: Staff, action: str, *accounts: Any, **fields: Any) -> Any:
    return staff.act(LIST, action, [row_of(account).pk for account in accounts], **fields)


@pytest.mark.parametrize(
    ("action", "fields", "shown", "event"),
    [
        ("freeze", {"sides": "debits"}, ("active", "debits", 0, None), "account.frozen"),
        ("limits", {"floor": "-5", "ceiling": "9.00"}, ("active", "none", -500, 900), "account.limits_changed"),
        ("limits", {"floor": "", "ceiling": ""}, ("active", "none", None, None), "account.limits_changed"),
        ("close", {}, ("closed", "none", 0, None), "account.closed"),
    ],
)
def test_an_account_is_changed_once_staff_have_said_why(  # noqa: PLR0917
    bank: Tenant, keeper: Staff, action: str, fields: Any, shown: Any, event: str
) -> None:
    alice = bank.person("alice")

    asked = act(keeper, action, alice)
    unsaid = act(keeper, action, alice, confirmed="yes", reason=" ", **fields)
    assert [page.status_code for page in (asked, unsaid)] == [200, 200]
    assert "users:alice:USD" in asked.content.decode()
    assert "This field is required." in unsaid.content.decode()
    assert told(bank, alice) == ["account.opened"]

    answer = act(keeper, action, alice, confirmed="yes", reason="order 17", **fields)

    row = row_of(alice)
    assert (row.status, row.frozen, row.balance.floor, row.balance.ceiling) == shown
    assert said(answer) == [{"freeze": "Frozen: 1.", "limits": "Changed: 1.", "close": "Closed: 1."}[action]]
    assert told(bank, alice) == ["account.opened", event]
    entry = AuditEntry.objects.get(object_type="ledger.account", object_id=str(row.pk))
    assert (entry.actor, entry.action, entry.reason) == (keeper.actor, event, "order 17")
    assert entry.request_id == answer["X-Request-ID"]


def test_what_was_done_is_undone_again(bank: Tenant, keeper: Staff) -> None:
    alice = bank.person("alice")
    act(keeper, "freeze", alice, confirmed="yes", reason="order", sides="both")
    act(keeper, "unfreeze", alice, confirmed="yes", reason="end", sides="credits")
    assert row_of(alice).frozen == "debits"
    act(keeper, "close", alice, confirmed="yes", reason="left")
    act(keeper, "reopen", alice, confirmed="yes", reason="came back")
    assert (row_of(alice).status, row_of(alice).frozen) == ("active", "debits")
    assert told(bank, alice)[1:] == ["account.frozen", "account.unfrozen", "account.closed", "account.reopened"]


def test_of_several_accounts_those_that_can_be_closed_are(bank: Tenant, keeper: Staff) -> None:
    alice, bob, carol = bank.person("alice"), bank.person("bob", holding="1.00"), bank.person("carol")

    answer = act(keeper, "close", alice, bob, carol, confirmed="yes", reason="audit")

    assert [row_of(account).status for account in (alice, bob, carol)] == ["closed", "active", "closed"]
    closed, refused = sorted(said(answer))
    assert closed == "Closed: 2."
    assert refused.startswith("users:bob:USD: account_not_empty: There is money on the account, or a debt:")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            {"floor": "1.00"},
            "floor_above_available: The account has less available than the floor would leave there.",
        ),
        ({"floor": "x"}, 'amount_malformed: An amount is a decimal text such as "10.00", without a sign.'),
        ({"floor": "0.00"}, "limits_unchanged: These are the limits that the account has."),
    ],
)
def test_a_refusal_is_said_by_its_code_and_its_own_words(bank: Tenant, keeper: Staff, fields: Any, detail: str) -> None:
    alice = bank.person("alice")
    answer = act(keeper, "limits", alice, confirmed="yes", reason="-", **fields)
    assert said(answer) == [f"users:alice:USD: {detail}"]
    assert told(bank, alice) == ["account.opened"]


def test_limits_are_those_of_one_account_and_begin_with_those_it_has(bank: Tenant, keeper: Staff) -> None:
    alice, bob = bank.open("users:alice:USD", floor="-7.00", ceiling="9.50"), bank.person("bob")
    page = act(keeper, "limits", alice).content.decode()
    assert re.findall(r'name="(?:floor|ceiling)" value="([^"]*)"', page) == ["-7.00", "9.50"]
    assert said(act(keeper, "limits", alice, bob)) == ["This is asked of one account: choose one."]
    act(keeper, "limits", alice, bob, confirmed="yes", reason="-", floor="0.00")
    assert (row_of(alice).balance.floor, row_of(bob).balance.floor) == (-700, 0)


def test_limits_that_another_changed_meanwhile_are_looked_at_again(bank: Tenant, keeper: Staff) -> None:
    alice = bank.person("alice")
    asked = seen(act(keeper, "limits", alice))
    act(keeper, "limits", alice, confirmed="yes", reason="first", floor="-5.00")

    answer = act(keeper, "limits", alice, confirmed="yes", reason="second", floor="", ceiling="9.00", seen=asked)

    page = answer.content.decode()
    assert "Something has moved since this page was shown: look again." in page
    assert ">second</textarea>" in page.replace("\n", "")
    assert '<td class="number">-5.00</td>' in page
    assert (row_of(alice).balance.floor, row_of(alice).balance.ceiling) == (-500, None)


@pytest.mark.parametrize("action", ["freeze", "unfreeze", "limits", "close", "reopen"])
def test_who_may_only_see_accounts_changes_none(bank: Tenant, action: str) -> None:
    alice, viewer = bank.person("alice"), Staff("view_account")
    act(viewer, action, alice, confirmed="yes", reason="mine", sides="both", floor="-9.00")
    assert told(bank, alice) == ["account.opened"]
    page = viewer.page("ledger_account_change", row_of(alice).pk)
    assert 'name="action"' not in page


def test_no_account_is_changed_that_was_not_ticked(bank: Tenant, keeper: Staff) -> None:
    alice, bob = bank.person("alice"), bank.person("bob")
    act(keeper, "freeze", alice, confirmed="yes", reason="-", sides="both", select_across="1")
    assert [row_of(account).frozen for account in (alice, bob)] == ["both", "none"]


@pytest.mark.parametrize(
    ("done", "offered"),
    [
        ([], ["freeze", "limits", "close"]),
        ([("freeze", {"sides": "debits"})], ["freeze", "unfreeze", "limits", "close"]),
        ([("freeze", {"sides": "both"})], ["unfreeze", "limits", "close"]),
        ([("close", {})], ["reopen"]),
    ],
)
def test_an_account_s_page_offers_what_can_be_done(bank: Tenant, keeper: Staff, done: Any, offered: list[str]) -> None:
    alice = bank.person("alice")
    for action, fields in done:
        act(keeper, action, alice, confirmed="yes", reason="-", **fields)
    page = keeper.page("ledger_account_change", row_of(alice).pk)
    assert re.findall(r'name="action" value="(\w+)"', page) == offered


def test_the_page_that_asks_shows_the_account_and_needs_no_inline_script(bank: Tenant, keeper: Staff) -> None:
    alice = bank.person("alice", holding="3.00")
    page = act(keeper, "freeze", alice).content.decode()
    assert bank.client.name in page
    assert "3.00 USD" in page
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
