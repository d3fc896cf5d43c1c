"""The real bank's 20,000 lines, booked and compared with what the bank printed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ledger.clients.models import Client
from ledger.clients.services import create_client
from ledger.models import Account, Transaction
from tests.commands import Ran, run
from tests.scratch import manage

DATA = Path(__file__).resolve().parents[1] / "data" / "pkdd99_trans_20k.asc.gz"
HEADER = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"'


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

    assert (ran.code, ran.answer["malformed"]) == (1, 1)
    assert ran.error == "1 lines of the file are malformed and were not compared."


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


def test_the_file_is_the_bank_s_own():
    with gzip.open(DATA) as file:
        assert file.readline() == HEADER.encode() + b"\r\n"
        assert sum(1 for _ in file) == 20_000
