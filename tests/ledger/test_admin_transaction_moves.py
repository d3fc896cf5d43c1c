"""Staff capture, void, reverse and retry: with a permission of its own, a reason and a look at what will happen."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from config.api.backoffice import asking
from ledger.admin import transaction_moves
from ledger.clients.models import AuditEntry
from ledger.domain.states import Status
from ledger.errors import ATTEMPTS_MAX, CaptureExceedsHold, ReversalExceeds
from ledger.models import QueuedPosting, Transaction, TransactionEvent
from ledger.queries.invariants import verify
from ledger.services.posting import post_due
from tests.ledger.backoffice import HOSTILE, Staff, said, seen
from tests.ledger.ended import expired
from tests.ledger.locks import in_thread
from tests.ledger.test_holds import capture, held
from tests.ledger.test_legs import SALE, by_legs, exchanged
from tests.ledger.test_refused_rounds import database_refuses
from tests.ledger.test_retry import accept, fail_again, refusal, retry
from tests.ledger.test_reversals import has, paid, reverse
from tests.people import URL, Tenant, body

LIST = "ledger_transaction_changelist"
PAGE = "ledger_transaction_change"
MOVES = ["capture", "void", "reverse", "retry"]


@pytest.fixture
def mover(db) -> Staff:
    return Staff("view_transaction", *(f"{move}_transaction" for move in MOVES))


def act(staff: Staff, action: str, *transactions: str, **fields: Any) -> Any:
    return staff.act(LIST, action, list(transactions), **fields)


def do(staff: Staff, action: str, *transactions: str, **fields: Any) -> Any:
    return act(staff, action, *transactions, confirmed="yes", **{"reason": "order 17"} | fields)


def row_of(transaction: str) -> Transaction:
    return Transaction.objects.get(pk=transaction)


def stands(transaction: str) -> tuple[str, int, int]:
    row = row_of(transaction)
    return row.status, row.booked_minor, row.reversed_minor


def audited(transaction: str) -> list[AuditEntry]:
    rows = AuditEntry.objects.filter(object_type="ledger.transaction", object_id=str(UUID(transaction)))
    return list(rows.order_by("id"))


def offered(page: str) -> list[str]:
    return re.findall(r'name="action" value="(\w+)"', page)


@pytest.fixture
def failed(people: Tenant, monkeypatch: pytest.MonkeyPatch) -> str:
    """A transaction of 1.00 that failed because alice's account stayed locked."""
    transaction = accept(people)
    fail_again(people, transaction, monkeypatch)
    return transaction


# What happens


@pytest.mark.parametrize(
    ("action", "make", "before", "after", "message"),
    [
        ("capture", held, ("pending", 0, 0), ("completed", 600, 0), "Captured: 1."),
        ("void", held, ("pending", 0, 0), ("voided", 0, 0), "Voided: 1."),
        ("reverse", paid, ("completed", 600, 0), ("reversed", 600, 600), "Reversed: 1."),
    ],
)
def test_money_moves_once_staff_have_said_why(  # noqa: PLR0917
    people: Tenant, mover: Staff, action: str, make: Any, before: Any, after: Any, message: str
) -> None:
    transaction = make(people)

    asked = act(mover, action, transaction)
    unsaid = do(mover, action, transaction, reason=" ")
    assert (asked.status_code, unsaid.status_code) == (200, 200)
    assert "<strong>6.00 USD</strong>" in asked.content.decode()
    assert "This field is required." in unsaid.content.decode()
    assert stands(transaction) == before
    assert audited(transaction) == []

    answer = do(mover, action, transaction)

    assert said(answer) == [message]
    assert stands(transaction) == after
    (entry,) = audited(transaction)
    assert (entry.actor, entry.reason, entry.client_id) == (mover.actor, "order 17", people.client.pk)
    assert (entry.action, entry.request_id) == (
        f"transaction.{after[0]}".replace("completed", "captured"),
        answer["X-Request-ID"],
    )
    step = row_of(transaction).history.latest("id")
    assert (step.to_status, step.actor, step.reason) == (after[0], mover.actor, "order 17")
    assert verify(client_id=people.client.pk).holds


def test_what_was_captured_or_taken_back_before_stays_and_the_rest_is_moved(people: Tenant, mover: Staff) -> None:
    hold, part = held(people), paid(people, "4.00")
    capture(people, hold, "2.00")
    reverse(people, part, "1.00")

    questions = [act(mover, "capture", hold).content.decode(), act(mover, "reverse", part).content.decode()]
    do(mover, "capture", hold)
    do(mover, "reverse", part)

    assert [re.findall(r"<strong>([^<]+ USD)</strong>", page) for page in questions] == [["4.00 USD"], ["3.00 USD"]]
    assert (stands(hold), stands(part)) == (("completed", 600, 0), ("reversed", 400, 400))


@pytest.mark.parametrize("asked", [by_legs(*SALE), exchanged(), body("10.00", fee="0.30")], ids=["legs", "rate", "fee"])
def test_what_has_terms_is_captured_and_taken_back_as_a_whole(shop: Tenant, mover: Staff, asked: Any) -> None:
    transaction = shop.post(URL, asked | {"capture": "manual"}).json()["id"]

    pages = [act(mover, "capture", transaction).content.decode()]
    do(mover, "capture", transaction)
    pages.append(act(mover, "reverse", transaction).content.decode())
    do(mover, "reverse", transaction)

    assert [re.findall(r"<strong>([^<]+ USD)</strong>", page) for page in pages] == [["10.00 USD"], ["10.00 USD"]]
    assert stands(transaction) == ("reversed", 1000, 1000)
    assert pages[0].count("by its legs") == (2 if "legs" in asked else 0)
    assert shop.account("users:alice:USD").balance.posted == "100.00"
    assert verify(client_id=shop.client.pk).holds


def test_a_reversal_tells_its_reason_and_stands_on_the_page_of_the_original(people: Tenant, mover: Staff) -> None:
    transaction = paid(people)
    do(mover, "reverse", transaction)
    (reversal,) = row_of(transaction).reversals.all()
    (entry,) = audited(transaction)
    assert entry.detail == {
        "receipt_code": reversal.receipt_code,
        "status": "completed",
        "amount": "6.00",
        "captured": None,
        "error": None,
    }
    assert TransactionEvent.objects.get(transaction=reversal).reason == "order 17"
    page = mover.page(PAGE, transaction)
    assert f'<a href="/admin/ledger/transaction/{reversal.pk}/change/">{reversal.receipt_code}</a>' in page
    assert f">{row_of(transaction).receipt_code}</a>" in mover.page(PAGE, reversal.pk)


def test_a_reversal_that_the_books_refuse_is_told_by_its_code_and_audited(people: Tenant, mover: Staff) -> None:
    transaction = paid(people)
    people.move("users:bob:USD", "cash:USD", "5.00", type="cash_out")

    answer = do(mover, "reverse", transaction)

    code = row_of(transaction).receipt_code
    assert said(answer) == [f"{code}: insufficient_funds: The available balance is lower than the amount."]
    assert stands(transaction) == ("completed", 600, 0)
    (entry,) = audited(transaction)
    assert (entry.detail["status"], entry.detail["error"]) == ("failed", "insufficient_funds")
    assert "</span> insufficient_funds</td>" in mover.page(PAGE, transaction)


def test_what_is_parked_is_posted_again_by_staff(
    people: Tenant, mover: Staff, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    while retry(people, failed).status_code == 202:
        fail_again(people, failed, monkeypatch)
    assert refusal(retry(people, failed)) == (409, "parked")

    answer = do(mover, "retry", failed)

    assert said(answer) == ["On their way again: 1."]
    assert row_of(failed).status == "processing"
    (entry,) = audited(failed)
    assert (entry.action, entry.actor, entry.reason) == ("transaction.retried", mover.actor, "order 17")
    assert entry.detail == {"error": "contention", "attempts": ATTEMPTS_MAX}
    while QueuedPosting.objects.filter(pk=UUID(failed)).exists():
        post_due(0)
    assert stands(failed) == ("completed", 100, 0)
    moves = row_of(failed).history.order_by("id").values_list("to_status", "reason")
    assert list(moves)[-3:] == [("failed", "contention"), ("processing", "order 17"), ("completed", "")]


def test_what_a_defect_refused_is_posted_again_by_staff_alone(people: Tenant, mover: Staff) -> None:
    with database_refuses(people.account("users:bob:USD"), 100):
        transaction = accept(people)
        while QueuedPosting.objects.filter(pk=UUID(transaction)).exists():
            post_due(0)
    assert row_of(transaction).error_code == "posting_refused"
    assert refusal(retry(people, transaction)) == (409, "not_retryable")
    assert offered(mover.page(PAGE, transaction)) == ["retry"]
    assert said(do(mover, "retry", transaction)) == ["On their way again: 1."]
    assert row_of(transaction).status == "processing"


def test_what_clients_do_is_not_in_the_audit_trail(people: Tenant) -> None:
    hold, moved = held(people, "2.00"), paid(people, "2.00")
    capture(people, hold)
    reverse(people, moved)
    assert audited(hold) == audited(moved) == []


# What is refused


def test_what_cannot_be_done_is_shown_before_and_refused_by_its_code(people: Tenant, mover: Staff) -> None:
    open_hold, over, moved = held(people, "1.00"), held(people, "1.00"), paid(people, "1.00")
    expired(over)

    page = act(mover, "capture", open_hold, over, moved).content.decode()
    answer = do(mover, "capture", open_hold, over, moved)

    assert "2 of 3 will be refused: their states do not allow it." in page
    assert page.count("<strong>1.00 USD</strong>") == 1
    assert page.count('<td class="number">nothing</td>') == 2
    not_held = "Only what is held can be captured or voided: it was not asked for with"
    first, second, third = said(answer)
    assert first == f"{row_of(over).receipt_code}: hold_expired: The hold has expired."
    assert second.startswith(f"{row_of(moved).receipt_code}: not_held: {not_held}")
    assert third == "Captured: 1."
    assert [stands(one)[:2] for one in (open_hold, over, moved)] == [
        ("completed", 100),
        ("pending", 0),
        ("completed", 100),
    ]


@pytest.mark.parametrize(
    ("action", "code"),
    [("capture", "not_held"), ("void", "not_held"), ("reverse", "not_reversible"), ("retry", "not_retryable")],
)
def test_what_failed_for_good_is_left_alone(people: Tenant, mover: Staff, action: str, code: str) -> None:
    transaction = str(people.move("users:alice:USD", "users:bob:USD", "10.01").transaction.id)

    (message,) = said(do(mover, action, transaction))

    assert message.startswith(f"{row_of(transaction).receipt_code}: {code}: ")
    assert stands(transaction) == ("failed", 0, 0)
    assert offered(mover.page(PAGE, transaction)) == []


def test_a_reversal_is_not_taken_back(people: Tenant, mover: Staff) -> None:
    transaction = paid(people)
    reversal = reverse(people, transaction).json()["id"]
    (message,) = said(do(mover, "reverse", reversal))
    assert ": reversal_of_reversal: " in message
    assert offered(mover.page(PAGE, reversal)) == []


def test_more_than_a_hundred_are_not_done_at_once(people: Tenant, mover: Staff) -> None:
    rows = people.submit([people.submission("users:alice:USD", "users:bob:USD", "0.01") for _ in range(101)])
    ids = [str(row.transaction.id) for row in rows]

    answer = act(mover, "reverse", *ids)
    assert said(answer) == ["At most 100 transactions can be chosen."]
    assert has(people) == (899, 101)

    assert said(do(Staff(superuser=True), "reverse", *ids[:100])) == ["Reversed: 100."]
    assert has(people) == (999, 1)


def test_what_takes_too_long_is_left_as_it_was_and_counted(
    people: Tenant, mover: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = held(people, "1.00"), held(people, "1.00")
    monkeypatch.setattr(asking, "DONE_WITHIN_S", -1.0)
    assert said(do(mover, "void", first, second)) == ["Not reached in time, and as before: 2."]
    assert [stands(one)[0] for one in (first, second)] == ["pending", "pending"]


def test_no_transaction_is_moved_that_was_not_ticked(people: Tenant, mover: Staff) -> None:
    first, second = held(people, "1.00"), held(people, "1.00")
    do(mover, "void", first, select_across="1")
    assert [stands(one)[0] for one in (first, second)] == ["voided", "pending"]


# Two at once


@pytest.mark.parametrize(("action", "make"), [("capture", held), ("void", held), ("reverse", paid)])
def test_who_comes_second_is_shown_what_has_moved_and_moves_nothing(
    people: Tenant, mover: Staff, action: str, make: Any
) -> None:
    transaction, colleague = make(people), Staff("view_transaction", f"{action}_transaction")
    looked = seen(act(colleague, action, transaction))
    do(mover, action, transaction)
    before = stands(transaction)

    page = do(colleague, action, transaction, seen=looked).content.decode()

    assert "Something has moved since this page was shown: look again." in page
    assert "1 of 1 will be refused: its state does not allow it." in page
    assert stands(transaction) == before
    assert [entry.actor for entry in audited(transaction)] == [mover.actor]


@pytest.mark.parametrize(("action", "make"), [("capture", held), ("void", held), ("reverse", paid)])
def test_of_four_at_the_same_moment_one_moves_the_money(people: Tenant, action: str, make: Any) -> None:
    transaction, together = make(people), Barrier(4)
    team = [Staff("view_transaction", f"{action}_transaction") for _ in range(4)]
    looked = seen(act(team[0], action, transaction))

    def press(staff: Staff) -> Any:
        together.wait()
        return do(staff, action, transaction, seen=looked)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda staff: in_thread(partial(press, staff)), team))

    messages = [message for answer in answers for message in said(answer)]
    assert sum(message.endswith(": 1.") for message in messages) == 1
    assert len(audited(transaction)) == 1
    assert row_of(transaction).reversals.count() == (action == "reverse")
    assert verify(client_id=people.client.pk).holds


def test_no_more_and_no_less_is_moved_than_was_shown(people: Tenant) -> None:
    hold, moved = held(people, "4.00"), paid(people, "4.00")
    rows = [Transaction.objects.select_related("currency").get(pk=one) for one in (hold, moved)]
    capture(people, hold, "1.00")
    reverse(people, moved, "1.00")

    with pytest.raises(CaptureExceedsHold):
        transaction_moves._capture(rows[0], reason="-", actor="staff:a", request_id="")
    with pytest.raises(ReversalExceeds):
        transaction_moves._reverse(rows[1], reason="-", actor="staff:a", request_id="")

    assert (stands(hold), stands(moved)) == (("pending", 100, 0), ("completed", 400, 100))
    assert audited(hold) == audited(moved) == []


# Who may


@pytest.mark.parametrize("action", MOVES)
def test_who_may_only_see_transactions_moves_none_and_sees_no_buttons(
    people: Tenant, viewer: Staff, failed: str, action: str
) -> None:
    made = [held(people, "1.00"), paid(people, "1.00"), failed]

    for transaction in made:
        assert not act(viewer, action, transaction).content.decode().count('name="confirmed"')
        do(viewer, action, transaction, seen="x")
        assert offered(viewer.page(PAGE, transaction)) == []

    assert [stands(one)[0] for one in made] == ["pending", "completed", "failed"]
    assert '<select name="action"' not in viewer.page(LIST)


@pytest.mark.parametrize("action", MOVES)
def test_each_permission_is_for_one_action_alone(people: Tenant, failed: str, action: str) -> None:
    made = [held(people, "1.00"), paid(people, "1.00"), failed]
    one = Staff("view_transaction", f"{action}_transaction")

    shown = {name for transaction in made for name in offered(one.page(PAGE, transaction))}

    assert shown == {action}
    for other in set(MOVES) - {action}:
        for transaction in made:
            do(one, other, transaction, seen="x")
    assert [stands(each)[0] for each in made] == ["pending", "completed", "failed"]


@pytest.mark.parametrize("action", MOVES)
def test_who_may_not_see_transactions_moves_none(people: Tenant, action: str) -> None:
    transaction = held(people)
    blind = Staff(f"{action}_transaction")
    assert act(blind, action, transaction).status_code == 403
    assert do(blind, action, transaction, seen="x").status_code == 403
    assert stands(transaction)[0] == Status.PENDING


# What the pages show


def test_a_transaction_s_page_offers_what_its_state_allows(people: Tenant, mover: Staff, failed: str) -> None:
    hold, over, moved = held(people, "1.00"), held(people, "1.00"), paid(people, "1.00")
    expired(over)
    pages = [offered(mover.page(PAGE, transaction)) for transaction in (hold, over, moved, failed)]
    assert pages == [["capture", "void"], [], ["reverse"], ["retry"]]


def test_a_question_leads_back_to_the_page_where_it_was_asked(people: Tenant, mover: Staff) -> None:
    first, second = held(people, "1.00"), held(people, "1.00")
    page, listed = f"/admin/ledger/transaction/{first}/change/", "/admin/ledger/transaction/"

    asked = act(mover, "void", first, asked_on="record").content.decode()
    assert f'<a class="closelink" href="{page}">' in asked
    assert 'name="asked_on" value="record"' in asked
    assert do(mover, "void", first, asked_on="record")["Location"] == page
    assert do(mover, "void", second, asked_on="https://evil.example/")["Location"] == listed


def test_what_staff_and_clients_wrote_is_text_on_the_pages_that_ask_and_tell(people: Tenant, mover: Staff) -> None:
    transaction = held(people, description=HOSTILE, reference=HOSTILE)
    people.client.name = f"{people.client.name} {HOSTILE}"
    people.client.save(update_fields=["name"])

    asked = do(mover, "void", transaction, reason=HOSTILE, seen="stale").content.decode()
    do(mover, "void", transaction, reason=HOSTILE)
    told = mover.page(PAGE, transaction)

    assert row_of(transaction).status == Status.VOIDED
    for page in (asked, told):
        assert HOSTILE not in page
        assert "&lt;script&gt;alert(" in page
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", asked)
    assert not re.search(r"<script(?![^>]*\bsrc=)", asked)


def test_a_question_costs_the_same_however_many_it_is_about(people: Tenant, mover: Staff) -> None:
    ids = [held(people, "0.10") for _ in range(12)]
    costs = [len(mover.queries_of(partial(act, mover, "void", *chosen))) for chosen in (ids[:1], ids)]
    assert costs == [6, 6]  # session, user, two of permissions, the list's first page, the rows
