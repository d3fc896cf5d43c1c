"""Transactions of more than one amount between two accounts: legs, exchanges, fees."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from ledger.events.models import OutboxEvent
from ledger.models import Journal, Transaction
from ledger.queries import accounts
from ledger.queries.invariants import verify
from ledger.queries.transactions import shown_all, transactions_of
from ledger.services.batches.turns import post_due_batch
from ledger.services.posting import post_due
from tests.counted import statements
from tests.ledger.queueing import emptied, send
from tests.ledger.statuses import forget
from tests.ledger.test_bad_input import problem, written
from tests.people import URL, Tenant, body


def leg(account: str, side: str, amount: str, currency: str = "USD") -> dict[str, str]:
    return {"account": account, "side": side, "amount": amount, "currency": currency}


def by_legs(*legs: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"type": "transfer", "legs": list(legs)} | more


SALE = (
    leg("users:alice:USD", "debit", "10.00"),
    leg("users:bob:USD", "credit", "7.50"),
    leg("tax:USD", "credit", "1.90"),
    leg("fees:USD", "credit", "0.60"),
)


def exchanged(**more: Any) -> dict[str, Any]:
    """Ten dollars of alice's for bob's euros."""
    terms = {"credit_account": "users:bob:EUR", "credit_currency": "EUR", "rate": "0.9215", "rate_source": "ecb"}
    return body("10.00", type="transfer") | terms | more


def balances(shop: Tenant, *paths: str) -> list[tuple[str, str]]:
    found = [shop.account(path).balance for path in paths]
    return [(balance.posted, balance.held) for balance in found]


def entries(transaction_id: str) -> list[tuple[str, str, str, str]]:
    """Return the lines of the last event of a transaction."""
    event = OutboxEvent.objects.filter(data__startswith=f'{{"id":"{transaction_id}"').latest("id")
    lines = json.loads(event.data)["entries"]
    return [(line["account"]["path"], line["side"], line["amount"], line["layer"]) for line in lines]


def test_legs_are_booked_in_one_journal_and_shown_as_they_were_asked(shop: Tenant) -> None:
    answer = shop.post(URL, by_legs(*SALE))

    shown = answer.json()
    assert (answer.status_code, shown["status"], shown["amount"], shown["currency"]) == (
        201,
        "completed",
        "10.00",
        "USD",
    )
    assert (shown["debit_account"], shown["credit_account"]) == (None, None)
    assert [one | {"account": one["account"]["path"]} for one in shown["legs"]] == list(SALE)
    assert (shown["user_id"], shown["peer_user_id"]) == ("alice", "bob")
    assert shop.get(answer["Location"]).json() == shown
    assert shop.get(URL).json()["data"][0] == shown
    assert Journal.objects.get(transaction_id=shown["id"]).entry_count == 4
    assert entries(shown["id"]) == [
        ("users:alice:USD", "debit", "10.00", "posted"),
        ("users:bob:USD", "credit", "7.50", "posted"),
        ("tax:USD", "credit", "1.90", "posted"),
        ("fees:USD", "credit", "0.60", "posted"),
    ]
    assert (
        str(OutboxEvent.objects.filter(data__startswith=f'{{"id":"{shown["id"]}"').latest("id").key)
        == (shown["legs"][0]["account"]["id"])
    )
    assert verify(client_id=shop.client.pk).holds


def test_legs_may_be_of_several_currencies_each_of_which_balances(shop: Tenant) -> None:
    legs = (
        leg("users:alice:USD", "debit", "10.00"),
        leg("liquidity:USD", "credit", "10.00"),
        leg("liquidity:JPY", "debit", "1500", "JPY"),
        leg("users:bob:JPY", "credit", "1500", "JPY"),
    )
    shown = shop.post(URL, by_legs(*legs)).json()
    assert (shown["status"], shown["amount"], shown["currency"]) == ("completed", "10.00", "USD")
    assert balances(shop, "users:alice:USD", "users:bob:JPY") == [("90.00", "0.00"), ("1500", "0")]
    assert verify(client_id=shop.client.pk).holds


def test_a_hundred_legs_are_booked(shop: Tenant) -> None:
    shares = [leg("users:bob:USD", "credit", "0.01") for _ in range(99)]
    shown = shop.post(URL, by_legs(leg("users:alice:USD", "debit", "0.99"), *shares)).json()
    assert (shown["status"], len(shown["legs"])) == ("completed", 100)
    assert balances(shop, "users:alice:USD", "users:bob:USD") == [("99.01", "0.00"), ("0.99", "0.00")]
    assert verify(client_id=shop.client.pk).holds


def test_two_legs_on_one_account_are_measured_together(shop: Tenant) -> None:
    """Each alone would leave alice above her floor."""
    legs = (
        leg("users:alice:USD", "debit", "60.00"),
        leg("users:alice:USD", "debit", "60.00"),
        leg("users:bob:USD", "credit", "120.00"),
    )
    answer = shop.post(URL, by_legs(*legs))
    assert problem(answer) == (409, "insufficient_funds")
    assert balances(shop, "users:alice:USD", "users:bob:USD") == [("100.00", "0.00"), ("0.00", "0.00")]
    failed = shop.get(f"{URL}/{answer.json()['transaction_id']}").json()
    assert (failed["status"], len(failed["legs"])) == ("failed", 3)
    assert problem(send(shop, by_legs(*legs))) == (409, "insufficient_funds")
    assert verify(client_id=shop.client.pk).holds


WRONG_LEGS = {
    "one leg": (SALE[:1], 422, "legs_too_few", "/legs"),
    "no leg": ((), 422, "legs_too_few", "/legs"),
    "101 legs": ((*SALE[:1], *SALE[1:2] * 100), 422, "legs_too_many", "/legs"),
    "unbalanced": (SALE[:3], 422, "legs_unbalanced", "/legs"),
    "balanced across currencies only": (
        (SALE[0], leg("users:bob:EUR", "credit", "10.00", "EUR")),
        422,
        "legs_unbalanced",
        "/legs",
    ),
    "an account on both sides": (
        (leg("users:alice:USD", "debit", "1.00"), leg("users:alice:USD", "credit", "1.00")),
        422,
        "same_account",
        "/legs/1/account",
    ),
    "an unknown account": (
        (SALE[0], leg("users:nobody:USD", "credit", "10.00")),
        422,
        "account_unknown",
        "/legs/1/account",
    ),
    "another currency": (
        (SALE[0], leg("users:bob:EUR", "credit", "10.00")),
        422,
        "currency_mismatch",
        "/legs/1/currency",
    ),
    "an unknown currency": ((leg("a", "debit", "1.00", "XXQ"), SALE[1]), 422, "account_unknown", "/legs/0/account"),
    "a side that is none": ((SALE[0] | {"side": "left"}, SALE[1]), 422, "field_choice", "/legs/0/side"),
    "nothing": ((SALE[0] | {"amount": "0.00"}, SALE[1]), 422, "amount_not_positive", "/legs/0/amount"),
    "a signed amount": ((SALE[0] | {"amount": "-1.00"}, SALE[1]), 422, "amount_negative", "/legs/0/amount"),
    "a field too many": ((SALE[0] | {"memo": "x"}, SALE[1]), 422, "field_unknown", "/legs/0/memo"),
}


@pytest.mark.parametrize(("legs", "status", "code", "pointer"), WRONG_LEGS.values(), ids=WRONG_LEGS)
def test_wrong_legs_are_refused_and_move_nothing(shop: Tenant, legs: Any, status: int, code: str, pointer: str) -> None:
    before = written(shop)
    answer = shop.post(URL, by_legs(*legs))
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((status, code), pointer)
    assert written(shop) == before


@pytest.mark.parametrize("name", ["debit_account", "credit_account", "amount", "currency", "fee", "rate"])
def test_legs_beside_what_they_stand_for_are_refused(shop: Tenant, name: str) -> None:
    value = (body("1.00") | {"fee": "0.10", "rate": "1.0"})[name]
    answer = shop.post(URL, by_legs(*SALE) | {name: value})
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "legs_beside_accounts"), f"/{name}")


@pytest.mark.parametrize("name", ["debit_account", "credit_account", "amount", "currency"])
def test_without_legs_two_accounts_and_an_amount_are_required(shop: Tenant, name: str) -> None:
    asked = body("1.00")
    del asked[name]
    answer = shop.post(URL, asked)
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "field_missing"), f"/{name}")


def test_more_than_an_amount_can_hold_is_refused(bank: Tenant) -> None:
    most = "9" * 36 + ".99"
    for path in ("a", "b"):
        bank.open(path, kind="asset")
    legs = [leg("a", "debit", most), leg("a", "debit", most), leg("b", "credit", most), leg("b", "credit", most)]
    assert problem(bank.post(URL, by_legs(*legs))) == (422, "amount_too_large")


def test_an_exchange_goes_through_the_liquidity_accounts_and_says_how_it_was_rounded(shop: Tenant) -> None:
    answer = shop.post(URL, exchanged(rate="0.92157"))

    shown = answer.json()
    said = {name: shown[name] for name in ("amount", "currency", "credit_amount", "credit_currency")}
    assert said == {"amount": "10.00", "currency": "USD", "credit_amount": "9.22", "credit_currency": "EUR"}
    assert (shown["rate"], shown["rate_source"], shown["rounding"]) == ("0.92157", "ecb", "0.0043")
    assert (shown["status"], shown["legs"], shown["user_id"]) == ("completed", None, "alice")
    assert shop.get(answer["Location"]).json() == shown
    assert entries(shown["id"]) == [
        ("users:alice:USD", "debit", "10.00", "posted"),
        ("users:bob:EUR", "credit", "9.22", "posted"),
        ("liquidity:USD", "credit", "10.00", "posted"),
        ("liquidity:EUR", "debit", "9.22", "posted"),
    ]
    assert balances(shop, "liquidity:USD", "liquidity:EUR") == [("-10.00", "0.00"), ("9.22", "0.00")]
    assert verify(client_id=shop.client.pk).holds


RATES = {
    "half to even, down": ({"amount": "0.10", "rate": "0.85"}, "0.08", "-0.005"),
    "half to even, up": ({"amount": "0.10", "rate": "0.95"}, "0.10", "0.005"),
    "exact": ({"rate": "0.5"}, "5.00", "0"),
    "no decimals there": ({"rate": "149.333", "credit_currency": "JPY"}, "1493", "-0.33"),
    "as it was asked, rounded down": ({"rate": "0.92157", "credit_amount": "9.21"}, "9.21", "-0.0057"),
    "as it was asked, rounded up": (
        {"rate": "149.333", "credit_currency": "JPY", "credit_amount": "1494"},
        "1494",
        "0.67",
    ),
    "a long rate": ({"rate": "0." + "3" * 20}, "3.33", "-0.0033333333333333333"),
}


@pytest.mark.parametrize(("more", "credited", "rounding"), RATES.values(), ids=RATES)
def test_what_is_credited_is_amount_times_rate(shop: Tenant, more: Any, credited: str, rounding: str) -> None:
    path = f"users:bob:{more.get('credit_currency', 'EUR')}"
    shown = shop.post(URL, exchanged(**more, credit_account=path)).json()
    assert (shown["credit_amount"], shown["rounding"]) == (credited, rounding)
    assert balances(shop, path)[0][0] == credited
    assert verify(client_id=shop.client.pk).holds


WRONG_EXCHANGES = {
    "a minor unit too much": ({"credit_amount": "9.23"}, "exchange_disagrees", "/credit_amount"),
    "a minor unit too little": ({"credit_amount": "9.20"}, "exchange_disagrees", "/credit_amount"),
    "exactly a minor unit too much": ({"rate": "1", "credit_amount": "10.01"}, "exchange_disagrees", "/credit_amount"),
    "exactly a minor unit too little": ({"rate": "1", "credit_amount": "9.99"}, "exchange_disagrees", "/credit_amount"),
    "a rate of nothing": ({"rate": "0.000"}, "rate_malformed", "/rate"),
    "a negative rate": ({"rate": "-1"}, "rate_malformed", "/rate"),
    "a rate with an exponent": ({"rate": "1e3"}, "rate_malformed", "/rate"),
    "a fraction": ({"rate": "1/3"}, "rate_malformed", "/rate"),
    "too many decimals": ({"rate": "1." + "1" * 21}, "rate_malformed", "/rate"),
    "no rate": ({"rate": None}, "exchange_incomplete", "/rate"),
    "no source": ({"rate_source": None}, "exchange_incomplete", "/rate_source"),
    "no currency": ({"credit_currency": None}, "exchange_incomplete", "/credit_currency"),
    "the same currency": ({"credit_currency": "USD"}, "exchange_within_currency", "/credit_currency"),
    "not the account's currency": ({"credit_currency": "JPY"}, "currency_mismatch", "/credit_currency"),
    "an unknown currency": ({"credit_currency": "XXQ"}, "currency_unknown", "/credit_currency"),
    "too little": ({"amount": "0.01", "rate": "0.1"}, "exchange_too_small", "/amount"),
    "too much": ({"amount": "9" * 36, "rate": "9" * 20}, "amount_too_large", "/credit_amount"),
    "the liquidity itself": ({"debit_account": "liquidity:USD"}, "same_account", "/debit_account"),
}


@pytest.mark.parametrize(("more", "code", "pointer"), WRONG_EXCHANGES.values(), ids=WRONG_EXCHANGES)
def test_a_wrong_exchange_is_refused_and_moves_nothing(shop: Tenant, more: Any, code: str, pointer: str) -> None:
    before = written(shop)
    answer = shop.post(URL, exchanged(**more))
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, code), pointer)
    assert written(shop) == before


def test_without_liquidity_accounts_it_is_said_which_to_open(bank: Tenant) -> None:
    bank.person("alice", holding="100.00")
    bank.open("users:bob:EUR", currency="EUR", user_id="bob")
    answer = bank.post(URL, exchanged())
    assert problem(answer) == (422, "account_unknown")
    assert answer.json()["errors"][0]["detail"] == (
        "There is no account 'liquidity:USD', that exchanges go through: open it first."
    )


def test_a_fee_is_paid_on_top_and_has_lines_of_its_own(shop: Tenant) -> None:
    shown = shop.post(URL, body("10.00", fee="0.30")).json()
    assert (shown["amount"], shown["fee"], shown["legs"]) == ("10.00", "0.30", None)
    assert entries(shown["id"]) == [
        ("users:alice:USD", "debit", "10.00", "posted"),
        ("users:bob:USD", "credit", "10.00", "posted"),
        ("users:alice:USD", "debit", "0.30", "posted"),
        ("fees:USD", "credit", "0.30", "posted"),
    ]
    assert balances(shop, "users:alice:USD", "fees:USD") == [("89.70", "0.00"), ("0.30", "0.00")]
    assert verify(client_id=shop.client.pk).holds


def test_amount_and_fee_are_measured_together(shop: Tenant) -> None:
    assert problem(shop.post(URL, body("100.00", fee="0.01"))) == (409, "insufficient_funds")
    assert balances(shop, "users:alice:USD") == [("100.00", "0.00")]


@pytest.mark.parametrize(("amount", "fee"), [("10.00", "0.10"), ("0.50", None), ("1.50", "0.02"), ("2.50", "0.02")])
def test_a_type_may_cost_a_share_of_the_amount_rounded_half_to_even(shop: Tenant, amount: str, fee: str | None) -> None:
    shown = shop.post(URL, body(amount, type="instant_payout")).json()
    assert (shown["status"], shown["fee"]) == ("completed", fee)
    assert verify(client_id=shop.client.pk).holds


def test_to_legs_no_fee_is_added(shop: Tenant) -> None:
    shown = shop.post(URL, by_legs(*SALE, type="instant_payout")).json()
    assert (shown["status"], shown["fee"], len(shown["legs"])) == ("completed", None, 4)


@pytest.mark.parametrize(("fee", "shown"), [("0.00", None), ("0.25", "0.25")])
def test_a_fee_of_the_request_stands_instead_of_the_type_s(shop: Tenant, fee: str, shown: str | None) -> None:
    assert shop.post(URL, body("10.00", type="instant_payout", fee=fee)).json()["fee"] == shown


WRONG_FEES = {
    "a signed one": ("-0.10", "amount_negative"),
    "no number": ("some", "amount_malformed"),
    "too many decimals": ("0.001", "amount_too_many_decimals"),
    "too long a text": ("0" * 81, "field_length"),
}


@pytest.mark.parametrize(("fee", "code"), WRONG_FEES.values(), ids=WRONG_FEES)
def test_a_wrong_fee_is_refused(shop: Tenant, fee: str, code: str) -> None:
    answer = shop.post(URL, body("1.00", fee=fee))
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, code), "/fee")


def test_a_fee_needs_its_account_and_nobody_pays_one_to_himself(bank: Tenant) -> None:
    bank.person("alice", holding="10.00")
    bank.person("bob")
    answer = bank.post(URL, body("1.00", fee="0.10"))
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "account_unknown"), "/fee")
    answer = bank.post(URL, body("1.00", type="instant_payout"))
    assert (problem(answer), answer.json()["errors"][0]["pointer"]) == ((422, "account_unknown"), "/type")
    bank.open("fees:USD", kind="income")
    paid = body("1.00", fee="0.10") | {"debit_account": "fees:USD"}
    assert problem(bank.post(URL, paid)) == (422, "same_account")


def test_an_exchange_may_cost_a_fee(shop: Tenant) -> None:
    shown = shop.post(URL, exchanged(fee="0.40")).json()
    assert (shown["status"], shown["fee"], shown["credit_amount"]) == ("completed", "0.40", "9.22")
    assert balances(shop, "users:alice:USD", "users:bob:EUR") == [("89.60", "0.00"), ("9.22", "0.00")]
    assert verify(client_id=shop.client.pk).holds


FORMS: dict[str, dict[str, Any]] = {
    "legs": by_legs(*SALE),
    "an exchange": exchanged(),
    "a fee": body("10.00", fee="0.30"),
}


def closing(shop: Tenant) -> dict[str, tuple[str, str, str]]:
    rows = shop.get("/v2/accounts?limit=200").json()["data"]
    return {row["path"]: tuple(row["balance"].values()) for row in rows}


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_all_forms_are_accepted_and_posted_later_as_at_once(shop: Tenant, asked: Any) -> None:
    emptied()
    accepted = send(shop, asked)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "processing")
    waits = shop.get(accepted["Location"]).json()
    while post_due(0):
        pass
    posted = shop.get(accepted["Location"]).json()
    at_once = shop.post(URL, asked).json()
    fields = (
        "legs",
        "fee",
        "credit_amount",
        "credit_currency",
        "rate",
        "rate_source",
        "rounding",
        "amount",
        "currency",
    )
    assert posted["status"] == "completed"
    assert [{name: shown[name] for name in fields} for shown in (waits, posted)] == [
        {name: at_once[name] for name in fields}
    ] * 2
    assert entries(posted["id"]) == entries(at_once["id"])
    assert verify(client_id=shop.client.pk).holds


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_all_forms_are_items_of_batches_and_answered_by_dry_runs(shop: Tenant, asked: Any) -> None:
    before = closing(shop)
    tried = shop.post(f"{URL}?dry_run=true", asked)
    assert (tried.status_code, tried.json()["status"]) == (200, "completed")
    assert closing(shop) == before
    answer = shop.post(f"{URL}/batch", {"mode": "atomic", "items": [asked, asked]}).json()
    assert [item["status"] for item in answer["items"]] == [201, 201]
    assert answer["items"][0]["transaction"]["legs"] == tried.json()["legs"]
    assert verify(client_id=shop.client.pk).holds


def test_a_batch_that_is_posted_in_turns_books_all_forms(shop: Tenant) -> None:
    answer = shop.post(f"{URL}/batch", {"items": list(FORMS.values())}, Prefer="respond-async")
    assert answer.status_code == 202
    while post_due_batch():
        pass
    shown = shop.get(f"{answer['Location']}/items").json()["data"]
    assert [item["transaction"]["status"] for item in shown] == ["completed"] * 3
    assert shown[0]["transaction"]["legs"] is not None
    assert verify(client_id=shop.client.pk).holds


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_all_forms_are_held_and_captured_or_voided_as_a_whole(shop: Tenant, asked: Any) -> None:
    before = closing(shop)
    held = shop.post(URL, asked | {"capture": "manual"}).json()
    assert (held["status"], held["captured"]) == ("pending", "0.00")
    alice = shop.account("users:alice:USD").balance
    assert (alice.posted, float(alice.held) >= 10.0) == ("100.00", True)
    assert problem(shop.post(f"{URL}/{held['id']}/capture", {"amount": "1.00"})) == (409, "not_divisible")
    assert shop.post(f"{URL}/{held['id']}/void", {}).json()["status"] == "voided"
    assert closing(shop) == before

    again = shop.post(URL, asked | {"capture": "manual"}).json()
    captured = shop.post(f"{URL}/{again['id']}/capture", {"amount": "10.00"})
    assert (captured.status_code, captured.json()["status"], captured.json()["captured"]) == (200, "completed", "10.00")
    at_once = shop.post(URL, asked).json()
    posted = [line for line in entries(again["id"]) if line[3] == "posted"]
    assert posted == entries(at_once["id"])
    assert verify(client_id=shop.client.pk).holds


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_all_forms_are_taken_back_as_a_whole(shop: Tenant, asked: Any) -> None:
    before = closing(shop)
    paid = shop.post(URL, asked).json()
    assert problem(shop.post(f"{URL}/{paid['id']}/reverse", {"amount": "1.00"})) == (409, "not_divisible")
    reversal = shop.post(f"{URL}/{paid['id']}/reverse", {}).json()
    assert (reversal["status"], reversal["amount"], reversal["reverses"]) == ("completed", "10.00", paid["id"])
    opposite = {"debit": "credit", "credit": "debit"}
    back = sorted((path, opposite[side], amount, layer) for path, side, amount, layer in entries(reversal["id"]))
    paid_lines = OutboxEvent.objects.get(type="transaction.completed", data__startswith=f'{{"id":"{paid["id"]}"')
    lines = [
        (one["account"]["path"], one["side"], one["amount"], one["layer"])
        for one in json.loads(paid_lines.data)["entries"]
    ]
    assert back == sorted(lines)
    assert shop.get(f"{URL}/{paid['id']}").json()["status"] == "reversed"
    assert closing(shop) == before
    assert problem(shop.post(f"{URL}/{paid['id']}/reverse", {})) == (409, "reversal_exceeds_original")
    assert verify(client_id=shop.client.pk).holds


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_each_event_of_all_forms_tells_what_the_answer_showed(shop: Tenant, asked: Any) -> None:
    held = shop.post(URL, asked | {"capture": "manual"}).json()
    captured = shop.post(f"{URL}/{held['id']}/capture", {}).json()
    reversal = shop.post(f"{URL}/{held['id']}/reverse", {}).json()
    taken_back = shop.get(f"{URL}/{held['id']}").json()
    alice = shop.account("users:alice:USD")
    shop.post(f"/v2/accounts/{alice.id}/freeze", {"reason": "to see it fail"})
    failed = shop.get(f"{URL}/{shop.post(URL, asked).json()['transaction_id']}").json()
    for shown in (held, captured, reversal, taken_back, failed):
        told = OutboxEvent.objects.get(
            type=f"transaction.{shown['status']}", data__startswith=f'{{"id":"{shown["id"]}"'
        )
        data = json.loads(told.data)
        del data["entries"]
        assert data == shown
        assert list(data) == list(shown)


@pytest.mark.parametrize(("name", "owner"), {"legs": "alice", "an exchange": "bob", "a fee": "bob"}.items())
def test_what_is_taken_back_belongs_to_who_pays_it_back(shop: Tenant, name: str, owner: str) -> None:
    """As a reversal of one amount between two accounts does; of legs to the first, as these do."""
    paid = shop.post(URL, FORMS[name]).json()
    reversal = shop.post(f"{URL}/{paid['id']}/reverse", {}).json()
    assert (reversal["user_id"], reversal["amount"], reversal["currency"]) == (owner, "10.00", "USD")


@pytest.mark.parametrize("asked", FORMS.values(), ids=FORMS)
def test_all_forms_are_found_by_each_of_their_accounts(shop: Tenant, asked: Any) -> None:
    paid = shop.post(URL, asked).json()
    for path, *_ in entries(paid["id"]):
        account = shop.account(path)
        for name in (path, account.id):
            found = shop.get(f"{URL}?account={name}&type=transfer").json()["data"]
            assert [row["id"] for row in found] == [paid["id"]]


@pytest.mark.parametrize("count", [1, 9])
def test_a_page_of_legs_looks_once_for_their_accounts(
    shop: Tenant, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for number in range(count):
        shop.open(f"other:{number}")
        legs = (leg("users:alice:USD", "debit", "1.00"), leg(f"other:{number}", "credit", "1.00"))
        assert shop.post(URL, by_legs(*legs)).status_code == 201
    monkeypatch.setattr(accounts, "_remembered_by_id", {})
    rows = list(transactions_of(shop.client.pk).order_by("-id")[:count])
    assert statements(lambda: shown_all(rows, since=0)) == 1
    assert [len(row["legs"]) for row in shop.get(f"{URL}?limit={count}").json()["data"]] == [2] * count


def test_a_frozen_leg_fails_all_of_them(shop: Tenant) -> None:
    tax = shop.account("tax:USD")
    assert shop.post(f"/v2/accounts/{tax.id}/freeze", {"reason": "audit", "sides": "credits"}).status_code == 200
    assert problem(shop.post(URL, by_legs(*SALE))) == (409, "account_frozen")
    assert balances(shop, "users:alice:USD", "users:bob:USD") == [("100.00", "0.00"), ("0.00", "0.00")]
    assert Transaction.objects.filter(client=shop.client, status="failed").count() == 1
    assert verify(client_id=shop.client.pk).holds


def places(error: Any) -> list[tuple[str, str]]:
    return [(one["pointer"], one["code"]) for one in error["errors"]]


def test_every_answer_names_the_leg_that_keeps_all_of_them_from_being_booked(shop: Tenant) -> None:
    tax = shop.account("tax:USD")
    shop.post(f"/v2/accounts/{tax.id}/freeze", {"reason": "audit", "sides": "credits"})
    asked, third = by_legs(*SALE), "/legs/2/account"

    first, again = (shop.post(URL, asked, key="sale") for _ in range(2))
    assert (first.status_code, places(first.json())) == (409, [(third, "account_frozen")])
    assert (again.status_code, places(again.json())) == (409, [(third, "account_frozen")])
    failed_url = f"{URL}/{first.json()['transaction_id']}"
    failed, status = shop.get(failed_url).json(), shop.get(f"{failed_url}/status").json()
    assert failed["error"]["pointer"] == third
    assert failed == shop.get(URL).json()["data"][0]
    assert json.loads(OutboxEvent.objects.latest("id").data) == failed | {"entries": []}
    assert status["error"] == failed["error"]
    forget(shop, UUID(failed["id"]))
    assert shop.get(f"{failed_url}/status").json() == status
    assert shop.get(f"{failed_url}/history").json()["data"][-1]["reason"] == f"account_frozen {third}"

    for refused in (send(shop, asked), shop.post(f"{URL}?dry_run=true", asked)):
        assert (refused.status_code, places(refused.json())) == (409, [(third, "account_frozen")])
    assert Transaction.objects.filter(client=shop.client, status="failed").count() == 1


def test_the_items_of_a_batch_name_the_leg_too(shop: Tenant) -> None:
    poor = by_legs(
        leg("users:alice:USD", "debit", "1.00"), leg("tax:USD", "debit", "1.00"), leg("fees:USD", "credit", "2.00")
    )
    limits = {"reason": "-", "floor": "0.00"}
    assert shop.post(f"/v2/accounts/{shop.account('tax:USD').id}/limits", limits).status_code == 200
    place = [("/items/1/legs/1/account", "insufficient_funds")]

    batch = shop.post(f"{URL}/batch", {"mode": "partial", "items": [body("1.00"), poor]}).json()
    stored = shop.get(f"/v2/batches/{batch['id']}/items").json()["data"]
    assert places(batch["items"][1]["error"]) == places(stored[1]["error"]) == place
    refused = shop.post(f"{URL}/batch", {"mode": "atomic", "items": [body("1.00"), poor]}).json()
    assert (refused["code"], places(refused)) == ("batch_refused", place)
    shop.post(URL, poor, key="failed")
    refused = shop.post(
        f"{URL}/batch", {"mode": "atomic", "items": [body("1.00"), poor | {"idempotency_key": "failed"}]}
    )
    assert places(refused.json()) == place


def test_a_capture_and_a_reversal_name_the_leg_of_the_transaction(shop: Tenant) -> None:
    held = shop.post(URL, by_legs(*SALE, capture="manual")).json()["id"]
    booked = shop.post(URL, by_legs(*SALE)).json()["id"]
    shop.post(f"/v2/accounts/{shop.account('tax:USD').id}/freeze", {"reason": "audit", "sides": "both"})
    for url in (f"{URL}/{held}/capture", f"{URL}/{booked}/reverse"):
        assert places(shop.post(url, {}).json()) == [("/legs/2/account", "account_frozen")], url
    assert places(shop.post(URL, body("200.00")).json()) == []


def test_the_account_of_another_client_is_unknown_in_a_leg(shop: Tenant, other_bank: Tenant) -> None:
    mallory = other_bank.person("mallory", holding="10.00")
    for name in (str(mallory.id), mallory.path):
        legs = (leg(name, "debit", "1.00"), leg("users:alice:USD", "credit", "1.00"))
        assert problem(shop.post(URL, by_legs(*legs))) == (422, "account_unknown")


def named(shop: Tenant, path: str) -> list[tuple[str, list[str]]]:
    """Return the lines of an account's statement with whom they name."""
    lines = shop.get(f"/v2/accounts/{shop.account(path).id}/statement").json()["lines"]
    return [(line["amount"], [one["path"] for one in line["counterparties"]]) for line in lines]


def test_an_exchange_s_statement_names_both_sides(shop: Tenant) -> None:
    shop.post(URL, exchanged(fee="0.40"))
    assert named(shop, "users:alice:USD")[1:] == [("10.00", ["users:bob:EUR"]), ("0.40", ["fees:USD"])]
    assert named(shop, "users:bob:EUR") == [("9.22", ["users:alice:USD"])]
    assert named(shop, "liquidity:EUR") == [("9.22", ["liquidity:USD"])]
    assert named(shop, "fees:USD") == [("0.40", ["users:alice:USD"])]


def test_the_statement_of_who_is_paid_by_legs_names_each_account_of_the_other_side_once(shop: Tenant) -> None:
    shares = [leg("users:bob:USD", "credit", "0.10") for _ in range(11)]
    shop.post(URL, by_legs(leg("users:alice:USD", "debit", "2.10"), *shares, leg("tax:USD", "credit", "1.00")))
    assert named(shop, "users:alice:USD")[1:] == [("2.10", ["users:bob:USD", "tax:USD"])]
    assert named(shop, "tax:USD") == [("1.00", ["users:alice:USD"])]


def test_what_is_captured_and_taken_back_has_its_counterparties_too(shop: Tenant) -> None:
    held = shop.post(URL, exchanged(fee="0.40", capture="manual")).json()["id"]
    shop.post(f"{URL}/{held}/capture", {})
    assert named(shop, "users:alice:USD")[1:] == [("10.00", ["users:bob:EUR"]), ("0.40", ["fees:USD"])]
    shop.post(f"{URL}/{held}/reverse", {})
    assert named(shop, "users:alice:USD")[3:] == [("10.00", ["users:bob:EUR"]), ("0.40", ["fees:USD"])]
