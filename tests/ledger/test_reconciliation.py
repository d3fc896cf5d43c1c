"""The command: the real bank's 20,000 lines, and other banks' by mappings of one's own, compared with the books."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ledger.clients.models import Client
from ledger.clients.services import create_client
from ledger.domain.matching import Verdict
from ledger.models import Account, Balance, Reconciliation, Transaction
from tests.commands import Ran, run
from tests.people import Tenant
from tests.scratch import manage

DATA = Path(__file__).resolve().parents[1] / "data" / "pkdd99_trans_20k.asc.gz"
HEADER = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"'
COUNTED = {"total": True, "matched": True} | {
    verdict.value: False for verdict in Verdict if verdict is not Verdict.MATCHED
}


@pytest.fixture
def client_name(db) -> str:
    return f"reconciled {uuid4()}"


def statement(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "statement.asc"
    file.write_bytes("\r\n".join((HEADER, *lines, "")).encode())
    return file


def arguments(file: Path, name: str) -> tuple[object, ...]:
    return (file, "--bank", "pkdd99", "--client", name)


def run_alone(name: str, *arguments: Any) -> Ran:
    """Run a command as a process of its own, which coverage does not slow down."""
    done = manage(name, *arguments)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_whole_file_gives_the_figures_of_an_independent_reading(client_name):
    imported = run_alone("import_statement", *arguments(DATA, client_name), "--json")

    assert (imported.code, imported.error) == (0, "")
    assert imported.answer["booked"] == imported.answer["lines"] == 20_000
    assert imported.answer["accounts_opened"] == 986 + 5
    assert imported.answer["types"] == {
        "bank_transfer_in": 2026,
        "bank_transfer_out": 2365,
        "cash_in": 5381,
        "cash_out": 4442,
        "fee": 1670,
        "interest": 4111,
        "penalty_interest": 5,
    }

    reconciled = run("reconcile_statement", *arguments(DATA, client_name), "--json")

    assert reconciled.code == 1
    assert reconciled.answer == {
        "accounts": 986,
        "exact": 631,
        "within_0_50": 984,
        "breaks": [
            {"account": "8566", "ours": "59577.00", "printed": "69414.00", "difference": "9837.00"},
            {"account": "947", "ours": "27401.50", "printed": "28201.50", "difference": "800.00"},
        ],
        "sum": "33476516.80",
        "currency": "CZK",
        "malformed": 0,
        "counts": {name: {"lines": 20_000 * is_all, "entries": 20_000 * is_all} for name, is_all in COUNTED.items()},
        "line_breaks": [],
    }

    shown = run("reconcile_statement", *arguments(DATA, client_name))

    assert shown.code == 1
    assert shown.error == "2 of 986 accounts do not agree with the statement."
    for figure in ("986", "631", "984", "9,837.00", "800.00", "33,476,516.80"):
        assert figure in shown.out.split()

    verified = run("verify_ledger", "--client", client_name, "--json")

    assert verified.code == 0
    assert {name: check["offences"] for name, check in verified.answer["checks"].items() if check["offences"]} == {}
    assert (verified.answer["ok"], verified.answer["clients"]) == (True, 1)
    assert (verified.answer["transactions"], verified.answer["entries"]) == (20_000, 40_000)

    again = run_alone("import_statement", *arguments(DATA, client_name), "--json")

    assert again.code == 0
    assert (again.answer["booked"], again.answer["already_booked"]) == (0, 20_000)
    assert again.answer["accounts_opened"] == 0
    assert Transaction.objects.filter(client__name=client_name).count() == 20_000


def test_the_counter_accounts_balance_the_customers(client_name, tmp_path):
    file = statement(
        tmp_path,
        '1;7;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;',
        '2;7;930102;"VYDAJ";"PREVOD NA UCET";50.50;649.50;"SIPO";"GH";"67947453"',
        '3;7;930131;"PRIJEM";"";0.50;650.00;"UROK";;',
    )
    run("import_statement", *arguments(file, client_name))

    accounts = Account.objects.filter(client__name=client_name).select_related("balance")
    assert {account.path: (account.kind, account.balance.posted_minor) for account in accounts} == {
        "customers:pkdd99:7:CZK": ("liability", 650_00),
        "cash:CZK": ("asset", 700_00),
        "banks:CZK": ("asset", -50_50),
        "interest_paid:CZK": ("expense", 50),
    }
    assert run("reconcile_statement", *arguments(file, client_name)).code == 0


def test_the_nearest_balance_of_the_last_day_counts_whatever_the_order_of_its_lines(client_name, tmp_path):
    file = statement(
        tmp_path,
        '1;7;930101;"PRIJEM";"VKLAD";100.00;100.00;"";;',
        '3;7;930102;"VYBER";"VYBER";30.00;120.00;"";;',
        '2;7;930102;"PRIJEM";"VKLAD";50.00;150.00;"";;',
    )
    run("import_statement", *arguments(file, client_name))

    assert run("reconcile_statement", *arguments(file, client_name), "--json").answer["exact"] == 1


@pytest.mark.parametrize(
    ("printed", "counts"),
    [
        ("100.00", (1, 1, 0)),
        ("100.50", (0, 1, 0)),
        ("99.50", (0, 1, 0)),
        ("100.51", (0, 0, 1)),
        ("-100.00", (0, 0, 1)),
    ],
)
def test_half_a_crown_is_the_bank_s_rounding_and_more_is_a_break(client_name, tmp_path, printed, counts):
    file = statement(tmp_path, f'1;7;930101;"PRIJEM";"VKLAD";100.00;{printed};"";;')
    run("import_statement", *arguments(file, client_name))

    ran = run("reconcile_statement", *arguments(file, client_name), "--json")

    assert (ran.answer["exact"], ran.answer["within_0_50"], len(ran.answer["breaks"])) == counts
    assert ran.code == counts[2]


def test_what_was_booked_for_later_days_does_not_move_the_closing_balance(client_name, tmp_path):
    january = statement(tmp_path, '1;7;930101;"PRIJEM";"VKLAD";100.00;100.00;"";;')
    run("import_statement", *arguments(january, client_name))
    february = statement(tmp_path, '2;7;930201;"PRIJEM";"VKLAD";10.00;110.00;"";;')
    run("import_statement", *arguments(february, client_name))

    january = statement(tmp_path, '1;7;930101;"PRIJEM";"VKLAD";100.00;100.00;"";;')
    assert run("reconcile_statement", *arguments(january, client_name), "--json").answer["exact"] == 1


def test_an_account_that_is_not_in_the_books_is_a_break_even_when_zero_is_printed(client_name, tmp_path):
    create_client(name=client_name, actor="test")
    file = statement(tmp_path, '1;7;930101;"VYBER";"VYBER";100.00;0.00;"";;')

    ran = run("reconcile_statement", *arguments(file, client_name), "--json")

    assert ran.code == 1
    assert ran.answer["breaks"] == [{"account": "7", "ours": None, "printed": "0.00", "difference": "0.00"}]


def test_lines_that_cannot_be_read_are_no_agreement(client_name, tmp_path):
    create_client(name=client_name, actor="test")
    file = statement(tmp_path, "nonsense")

    ran = run("reconcile_statement", *arguments(file, client_name), "--json")

    assert ran.code == 1
    assert ran.answer == {"malformed": 1, "problems": [{"line": 2, "reason": "it has 1 fields, not 10"}]}
    assert ran.error == "1 lines of the file are malformed; nothing was compared."


def test_an_unknown_client_and_a_missing_file_are_plain_errors(client_name, tmp_path):
    unknown = run("reconcile_statement", *arguments(DATA, client_name))
    assert unknown.code == 1
    assert unknown.error.startswith(f"There is no client {client_name!r}.")
    assert not Client.objects.filter(name=client_name).exists()

    create_client(name=client_name, actor="test")
    missing = run("reconcile_statement", *arguments(tmp_path / "none", client_name))
    assert (missing.code, missing.error) == (1, f"{tmp_path / 'none'} cannot be read: No such file or directory.")


def test_reconciling_writes_nothing(client_name):
    create_client(name=client_name, actor="test")

    assert run("reconcile_statement", *arguments(DATA, client_name)).code == 1

    assert not Account.objects.filter(client__name=client_name).exists()


MAPPING = """
delimiter = ";"
[columns]
date = "Datum"
reference = "Referenz"
debit = "Soll"
credit = "Haben"
balance = "Saldo"
[date]
format = "DD.MM.YYYY"
[number]
decimal = ","
thousands = "."
"""
OURS = "banks:main:EUR"


@pytest.fixture
def main(bank: Tenant, tmp_path: Path) -> Tenant:
    """A client with a mapping, and an account at that bank on which two movements of March are booked."""
    (tmp_path / "main.toml").write_text(MAPPING)
    bank.open(OURS, kind="asset", currency="EUR")
    bank.open("sales:EUR", kind="income", currency="EUR")
    for day, amount, reference in ((2, "1234.50", "INV-1"), (5, "10.00", None)):
        on = datetime(2026, 3, day, tzinfo=UTC)
        bank.move(OURS, "sales:EUR", amount, currency="EUR", reference=reference, effective_at=on)
    return bank


def compare(main: Tenant, tmp_path: Path, *rows: str, account: str | None = OURS, more: tuple[str, ...] = ()) -> Ran:
    file = tmp_path / "march.csv"
    file.write_text("\r\n".join(("Datum;Referenz;Soll;Haben;Saldo", *rows, "")))
    named = () if account is None else ("--account", account)
    mapping = tmp_path / "main.toml"
    return run("reconcile_statement", file, "--mapping", mapping, "--client", main.client.name, *named, *more)


GOOD = ("03.03.2026;INV-1;;1.234,50;1.234,50", "05.03.2026;;;10,00;1.244,50")


def test_a_statement_of_one_account_agrees_by_a_mapping_file(main, tmp_path):
    ran = compare(main, tmp_path, *GOOD, more=("--json",))

    assert (ran.code, ran.error) == (0, "")
    assert ran.answer["counts"]["matched"] == ran.answer["counts"]["total"] == {"lines": 2, "entries": 2}
    assert (ran.answer["breaks"], ran.answer["line_breaks"], ran.answer["sum"]) == ([], [], "1244.50")


def test_a_mapping_file_may_begin_with_a_byte_order_mark(main, tmp_path):
    (tmp_path / "main.toml").write_text(MAPPING, encoding="utf-8-sig")

    assert compare(main, tmp_path, *GOOD).code == 0


def test_breaks_end_with_1_and_are_told_for_people_and_as_json_the_same_each_time(main, tmp_path):
    rows = (GOOD[0], "05.03.2026;INV-9;;11,00;1.245,50")
    before = list(Balance.objects.filter(account__client=main.client).order_by("pk").values())

    shown, first, again = (compare(main, tmp_path, *rows, more=more) for more in ((), ("--json",), ("--json",)))

    assert (first.code, first.out) == (again.code, again.out)
    assert first.code == shown.code == 1
    assert first.error == (
        "1 of 1 accounts do not agree with the statement. 2 breaks were found among lines and entries."
    )
    assert first.answer["breaks"] == [{"account": OURS, "ours": "1244.50", "printed": "1245.50", "difference": "1.00"}]
    missing, extra = first.answer["line_breaks"]
    assert (missing["kind"], missing["account"], missing["line"]["number"]) == ("missing_in_books", OURS, 3)
    assert (extra["kind"], extra["entry"]["amount"], extra["line"]) == ("missing_at_bank", "10.00", None)
    assert f"{OURS}: missing_in_books | line 3 of 2026-03-05, 11.00 INV-9" in shown.out.splitlines()
    assert f"entry 2 of 2026-03-05, 10.00 {extra['entry']['receipt_code']}" in shown.out
    assert list(Balance.objects.filter(account__client=main.client).order_by("pk").values()) == before
    assert not Reconciliation.objects.filter(client=main.client).exists()


def test_the_window_is_an_option(main, tmp_path):
    rows = (GOOD[0], "09.03.2026;;;10,00;1.244,50")

    assert compare(main, tmp_path, *rows).code == 1
    assert compare(main, tmp_path, *rows, more=("--date-window-days", "4")).code == 0
    assert "invalid choice: 32" in compare(main, tmp_path, *rows, more=("--date-window-days", "32")).error


def test_the_days_that_a_statement_covers_are_options(main, tmp_path):
    quiet = ("--first-date", "2026-03-01", "--last-date", "2026-03-31")

    assert compare(main, tmp_path, GOOD[0]).code == 0
    missing = compare(main, tmp_path, GOOD[0], more=(*quiet, "--json"))
    assert [(one["kind"], one["entry"]["date"]) for one in missing.answer["line_breaks"]] == [
        ("missing_at_bank", "2026-03-05")
    ]
    assert missing.answer["breaks"][0]["ours"] == "1244.50"
    late = compare(main, tmp_path, GOOD[0], more=("--first-date", "2026-03-04"))
    assert late.error == "Line 2 is of 2026-03-03, before the first day. (statement_outside_dates)"
    assert "'March' is no date" in compare(main, tmp_path, GOOD[0], more=("--last-date", "March")).error


def test_a_statement_without_lines_is_no_agreement(main, tmp_path):
    march = ("--first-date", "2026-03-01", "--last-date", "2026-03-31", "--json")
    (tmp_path / "main.toml").write_text(f'ends_before = "03.03.2026"\n{MAPPING}')

    for rows in ((), GOOD):
        ran = compare(main, tmp_path, *rows, more=march)
        assert (ran.code, ran.error) == (1, "The statement has no lines; nothing was compared.")


def test_an_account_of_another_currency_than_the_lines_that_name_it_is_a_plain_error(main, tmp_path):
    named = MAPPING.replace(
        "[columns]", 'currency = "USD"\naccount_path = "banks:{account}:EUR"\n[columns]\naccount = "Konto"'
    )
    (tmp_path / "main.toml").write_text(named)
    file = tmp_path / "march.csv"
    file.write_text("Konto;Datum;Referenz;Soll;Haben;Saldo\nmain;03.03.2026;INV-1;;1.234,50;1.234,50\n")

    ran = run("reconcile_statement", file, "--mapping", tmp_path / "main.toml", "--client", main.client.name)

    assert (ran.code, ran.error) == (1, f"Account {OURS} is in EUR, the statement in USD. (currency_mismatch)")


def test_of_many_breaks_people_see_the_first_hundred(main, tmp_path):
    ran = compare(main, tmp_path, *(f"03.03.2026;N{number};;1,00;1,00" for number in range(150)))

    assert ran.out.count("missing_in_books |") == 100
    assert "… and 50 more (the first 100 are shown)" in ran.out


def test_a_line_that_does_not_fit_its_mapping_is_named_and_nothing_is_compared(main, tmp_path):
    ran = compare(main, tmp_path, *GOOD, "2026-03-06;;;1,00;1,00")

    assert ran.code == 1
    assert ran.out.splitlines() == ["line 4: Datum '2026-03-06' is no date DD.MM.YYYY"]
    assert ran.error == "1 lines of the file are malformed; nothing was compared."


def test_an_account_that_is_not_named_or_does_not_fit_is_a_plain_error(main, tmp_path):
    assert compare(main, tmp_path, *GOOD, account=None).error == (
        "By main no line names its account: say which it is with --account."
    )
    assert compare(main, tmp_path, *GOOD, account="banks:none:EUR").error == (
        "The client has no account 'banks:none:EUR'."
    )
    (tmp_path / "main.toml").write_text('currency = "USD"\n' + MAPPING)
    assert compare(main, tmp_path, *GOOD).error == "main is in USD, the account in EUR."
    numbered = MAPPING.replace("[date]", 'account = "Referenz"\n[date]')
    (tmp_path / "main.toml").write_text(numbered)
    assert compare(main, tmp_path, GOOD[0], GOOD[0].replace("INV-1", "INV-2")).error == (
        "With --account all lines are of one: line 2 is of INV-1, line 3 of INV-2."
    )
    (tmp_path / "main.toml").write_text('account_path = "a:{account}"\n' + numbered)
    assert compare(main, tmp_path, *GOOD, account=None).error == "The mapping main names no currency that is known."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("delimiter = ;", "is no TOML: Invalid value (at line 1, column 13)."),
        ("a = 1\na = 2\n", "is no TOML: Cannot overwrite a value (at line 2, column 6)."),
        (MAPPING.replace("Datum", "\udcff"), "is no TOML: 'utf-8' codec can't decode byte 0xff"),
        (MAPPING.replace("reference", "referenz"), "is no mapping: columns.referenz: Object contains unknown field"),
        (MAPPING.replace("DD.", "TT."), "is no mapping: date: 'TT.MM.YYYY' does not have one day."),
        (
            MAPPING.replace("Soll", "").replace('debit = ""', ""),
            "is no mapping: columns: debit and credit go together.",
        ),
        (MAPPING + 'thousand = " "', "is no mapping: number.thousand: Object contains unknown field `thousand`."),
        ("a = " + "[" * 100_000, "is no mapping: it is nested too deeply."),
        ("header = false" + MAPPING, "is no mapping: the column 'Datum': with a header columns have names"),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_place(main, tmp_path, text, reason):
    (tmp_path / "main.toml").write_text(text, errors="surrogateescape")

    ran = compare(main, tmp_path, *GOOD)

    assert ran.code == 1
    assert ran.error.startswith(f"{tmp_path / 'main.toml'} {reason}")


def test_mappings_that_are_not_there_are_plain_errors(main, tmp_path):
    def asked(mapping: object) -> str:
        return run("reconcile_statement", DATA, "--mapping", mapping, "--client", main.client.name).error

    assert asked("hsbc") == (
        "There is no mapping 'hsbc'; there are eu_debit_credit, iso_signed, pkdd99, us_signed, and files *.toml."
    )
    assert asked(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'} cannot be read: No such file or directory."
    assert asked("my bank.toml") == "my bank.toml names its bank: 1 to 29 of A-Z a-z 0-9 _ . + - before the ending."


def test_the_file_is_the_bank_s_own():
    with gzip.open(DATA) as file:
        assert file.readline() == HEADER.encode() + b"\r\n"
        assert sum(1 for _ in file) == 20_000
