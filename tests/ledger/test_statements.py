"""Bank statements: what a line means, what is refused, and that nothing is booked twice or lost."""

from __future__ import annotations

import gzip
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec import structs

from config.runtime.clock import now
from ledger.clients.models import Client
from ledger.domain.accounts import Frozen
from ledger.errors import StatementMalformed
from ledger.kinds import KINDS
from ledger.models import Account, Transaction
from ledger.queries.accounts import find_account
from ledger.queries.comparisons import Closing, Dates, compare
from ledger.services.account_changes import freeze_account
from ledger.services.accounts import Opening, open_account
from ledger.services.statements import import_statement
from ledger.statements import BANKS, Bank, MalformedLine, StatementLine
from ledger.statements.files import LINE_SIZE_MAX_BYTES, open_statement
from ledger.statements.reader import read_statement
from tests.commands import Ran, run
from tests.scratch import ROOT, environment, start

DATA = Path(__file__).resolve().parents[1] / "data" / "pkdd99_trans_20k.asc.gz"
BANK = BANKS["pkdd99"]
HEADER = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"'
GOOD = '276579;947;931113;"VYDAJ";"PREVOD NA UCET";1546.00;28201.50;"SIPO";"GH";"67947453"'
CASH = '1;7;930101;"PRIJEM";"VKLAD";700.00;700.00;"";;'


@pytest.fixture
def client_name(db) -> str:
    return f"praha {uuid4()}"


@pytest.fixture(scope="module")
def six_thousand(tmp_path_factory) -> Path:
    """The first 6,000 lines of the real file, as a plain one."""
    with gzip.open(DATA) as source:
        lines = list(islice(source, 6001))
    file: Path = tmp_path_factory.mktemp("bank") / "six thousand.asc"
    file.write_bytes(b"".join(lines))
    return file


def statement(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "statement.asc"
    file.write_bytes("\r\n".join((HEADER, *lines, "")).encode("latin-1"))
    return file


def load(file: Path, name: str, *more: str) -> Ran:
    return run("import_statement", file, "--bank", "pkdd99", "--client", name, *more)


def read(*lines: bytes, bank: Bank = BANK) -> list[StatementLine | MalformedLine]:
    content = BytesIO(b"\r\n".join((HEADER.encode(), *lines)))
    return list(read_statement(bank, content, currency="CZK", exponent=2))


def parse(text: str, bank: Bank = BANK) -> StatementLine:
    """Return what the only line of a statement says."""
    (understood,) = read(text.encode(), bank=bank)
    assert isinstance(understood, StatementLine), understood
    return understood


def booked(name: str) -> int:
    return Transaction.objects.filter(client__name=name).count()


def line(**fields: str) -> str:
    """Return a good line with some fields of its own."""
    parts = {
        "trans_id": "1",
        "account_id": "7",
        "date": "930101",
        "type": "PRIJEM",
        "operation": "VKLAD",
        "amount": "700.00",
        "balance": "700.00",
        "k_symbol": "",
        "bank": "",
        "account": "",
    }
    return ";".join(f'"{value}"' for value in (parts | fields).values())


def test_a_line_says_what_it_says():
    understood = parse(GOOD)

    assert (understood.number, understood.id, understood.account) == (2, "276579", "947")
    assert (understood.on, understood.type) == (date(1993, 11, 13), "bank_transfer_out")
    assert (understood.amount_minor, understood.balance_minor) == (-154600, 2820150)
    assert understood.metadata == {
        "k_symbol": "SIPO",
        "counterparty_bank": "GH",
        "counterparty_account": "67947453",
    }


@pytest.mark.parametrize(
    ("bank_type", "operation", "k_symbol", "kind"),
    [
        ("PRIJEM", "VKLAD", "", "cash_in"),
        ("VYDAJ", "VYBER", "", "cash_out"),
        ("VYBER", "VYBER", "", "cash_out"),
        ("VYDAJ", "VYBER", " ", "cash_out"),
        ("VYDAJ", "VYBER", "SIPO", "cash_out"),
        ("PRIJEM", "PREVOD Z UCTU", "DUCHOD", "bank_transfer_in"),
        ("VYDAJ", "PREVOD NA UCET", "UVER", "bank_transfer_out"),
        ("VYDAJ", "PREVOD NA UCET", "POJISTNE", "bank_transfer_out"),
        ("VYDAJ", "VYBER KARTOU", "", "card"),
        ("PRIJEM", "", "", "interest"),
        ("PRIJEM", "", "UROK", "interest"),
        ("VYDAJ", "VYBER", "SLUZBY", "fee"),
        ("VYDAJ", "VYBER", "SANKC. UROK", "penalty_interest"),
    ],
)
def test_the_purpose_decides_before_the_operation(bank_type, operation, k_symbol, kind):
    understood = parse(line(type=bank_type, operation=operation, k_symbol=k_symbol))

    assert understood.type == kind
    assert KINDS[kind].customer_is_debited == (bank_type != "PRIJEM")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "it has 1 fields, not 10"),
        (GOOD + ";", "it has 11 fields, not 10"),
        (GOOD[:-1], "its quotes are wrong (unexpected end of data)"),
        (line(trans_id=""), "trans_id '' is not 1 to 100 visible ASCII characters"),
        (line(trans_id="1 2"), "trans_id '1 2' is not 1 to 100 visible ASCII characters"),
        (line(account_id="users:7"), "account_id 'users:7' is not 1 to 34 of A-Z a-z 0-9 _ . @ + -"),
        (line(date="930229"), "date '930229' is no date YYMMDD"),
        (line(date="931301"), "date '931301' is no date YYMMDD"),
        (line(date="19930101"), "date '19930101' is no date YYMMDD"),
        (line(type="prijem"), "type 'prijem' is unknown"),
        (line(type=""), "type '' is unknown"),
        (line(operation="VKLAD KARTOU"), "operation 'VKLAD KARTOU' is unknown"),
        (line(k_symbol="BONUS"), "k_symbol 'BONUS' is unknown"),
        (line(type="VYDAJ"), "type 'VYDAJ' contradicts cash_in"),
        (line(operation="VYBER"), "type 'PRIJEM' contradicts cash_out"),
        (line(k_symbol="SLUZBY"), "type 'PRIJEM' contradicts fee"),
        (line(type="VYDAJ", operation="VYBER", k_symbol="UROK"), "type 'VYDAJ' contradicts interest"),
        (line(amount="0.00"), "amount '0.00' is zero"),
        (line(amount="-1.00"), "amount '-1.00' has a sign, beside type"),
        (line(amount="1.001"), "amount '1.001' has more decimals than the currency, which has 2"),
        (line(amount="1,00"), "amount '1,00' is no number such as 1234.56"),
        (line(amount="1e3"), "amount '1e3' is no number such as 1234.56"),
        (line(balance=""), "balance '' is no number such as 1234.56"),
    ],
)
def test_a_malformed_line_has_a_reason(text, reason):
    assert read(text.encode()) == [MalformedLine(2, reason)]


def test_every_field_tells_a_line_from_another():
    fields = {
        "trans_id": "2",
        "account_id": "8",
        "date": "930102",
        "amount": "700.01",
        "balance": "-700.00",
        "k_symbol": "DUCHOD",
        "bank": "GH",
        "account": "1",
    }
    hashes = {parse(line(**{name: value})).content_hash for name, value in fields.items()}

    assert len(hashes | {parse(line()).content_hash}) == len(fields) + 1
    assert parse(line(k_symbol=" ")).content_hash == parse(line()).content_hash
    assert parse(line(), Bank("hsbc", BANK.mapping)).content_hash != parse(line()).content_hash


def test_bad_bytes_are_one_malformed_line_and_the_rest_is_read():
    good = CASH.encode()
    lines = read(good, b"\xff;x", b"x" * 3 * LINE_SIZE_MAX_BYTES, b"", b"a\x00b", b'"open;' + good, good)

    assert [(one.number, one.reason) if isinstance(one, MalformedLine) else one.number for one in lines] == [
        2,
        (3, "it is not ASCII"),
        (4, f"it is longer than {LINE_SIZE_MAX_BYTES} bytes"),
        (6, "it holds a control character"),
        (7, "its quotes are wrong (';' expected after '\"')"),
        8,
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b"\x1f", CASH.encode(), b"trans_id;account_id\r\n"])
def test_a_file_without_the_bank_s_header_is_no_statement(content):
    with pytest.raises(StatementMalformed):
        read_statement(BANK, BytesIO(content), currency="CZK", exponent=2)


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path):
    whole = gzip.compress(b"\r\n".join((HEADER.encode(), *[line(trans_id=str(n)).encode() for n in range(1, 5000)])))
    file = tmp_path / "cut.asc.gz"
    file.write_bytes(whole[:-2000])

    with open_statement(file) as (content, bytes_read):
        lines = list(read_statement(BANK, content, currency="CZK", exponent=2))
        assert bytes_read() == len(whole) - 2000

    assert [type(one) for one in lines] == [StatementLine] * (len(lines) - 1) + [MalformedLine]
    assert 0 < len(lines) < 5000
    damage = lines[-1]
    assert isinstance(damage, MalformedLine)
    assert damage.number == len(lines) + 1
    assert damage.reason.startswith("the file is damaged from here on")


def test_a_file_is_read_only_as_far_as_its_lines_are_asked_for(six_thousand):
    with open_statement(six_thousand) as (content, bytes_read):
        assert len(list(islice(read_statement(BANK, content, currency="CZK", exponent=2), 10))) == 10
        assert bytes_read() < 2000


def test_a_line_becomes_a_transaction_with_its_date_and_counterparty(client_name, tmp_path):
    ran = load(statement(tmp_path, GOOD), client_name)

    assert ran.code == 0
    row = Transaction.objects.get(client__name=client_name)
    assert (row.type, row.status, row.amount_minor) == ("bank_transfer_out", "completed", 154600)
    assert row.debit_account is not None
    assert row.credit_account is not None
    assert (row.debit_account.path, row.credit_account.path) == ("customers:pkdd99:947:CZK", "banks:CZK")
    assert (row.reference, row.idempotency_key, row.user_id) == ("276579", "pkdd99:276579", "pkdd99:947")
    assert row.effective_at == datetime(1993, 11, 13, tzinfo=UTC)
    assert row.metadata == {"k_symbol": "SIPO", "counterparty_bank": "GH", "counterparty_account": "67947453"}
    customer = Account.objects.select_related("balance").get(pk=row.debit_account.pk)
    assert (customer.kind, customer.user_id, customer.balance.floor) == ("liability", "pkdd99:947", None)


def test_the_same_number_at_two_banks_is_two_customers_of_one_client(bank):
    # A second mapping, so that the two banks' numbers are sure to be the same.
    path = "customers:hsbc:{account}:{currency}"
    hsbc = Bank("hsbc", structs.replace(BANK.mapping, account_path=path))
    for its in (BANK, hsbc):
        report = import_statement(
            client_id=bank.client.pk,
            bank=its,
            lines=[parse(CASH, its)],
            actor="test",
            now=now(),
            after_batch=lambda _: None,
        )
        assert (report.booked.total(), report.is_clean) == (1, True)

    customers = Account.objects.filter(client=bank.client, user_id__isnull=False).select_related("balance")
    assert {row.path: (row.user_id, row.balance.posted_minor) for row in customers} == {
        "customers:pkdd99:7:CZK": ("pkdd99:7", 70000),
        "customers:hsbc:7:CZK": ("hsbc:7", 70000),
    }
    for printed in (70000, 140000):
        lines = [replace(parse(CASH), balance_minor=printed)]
        account = find_account(bank.client.pk, BANK.account_path("7"))
        found = compare(bank=BANK, account=account, lines=lines, exponent=2, dates=Dates(window_days=0))
        assert found.closing == Closing(printed, 70000, 50)


def test_malformed_lines_are_named_and_the_rest_is_booked(client_name, tmp_path):
    file = statement(tmp_path, CASH, "nonsense", line(trans_id="2"), line(trans_id="3", amount="0.00"))

    ran = load(file, client_name, "--json")

    assert ran.code == 1
    assert (ran.answer["lines"], ran.answer["booked"], ran.answer["malformed"]) == (4, 2, 2)
    assert ran.answer["problems"] == [
        {"line": 3, "code": "statement_malformed", "reason": "it has 1 fields, not 10"},
        {"line": 5, "code": "statement_malformed", "reason": "amount '0.00' is zero"},
    ]
    assert booked(client_name) == 2


def test_people_read_counts_reasons_and_what_to_do_next(client_name, tmp_path):
    ran = load(statement(tmp_path, CASH, "nonsense", *["worse"] * 150), client_name)

    assert ran.code == 1
    assert "line 3: it has 1 fields, not 10 (statement_malformed)" in ran.out
    assert "… and 51 more (the first 100 are shown)" in ran.out
    assert f"--mapping pkdd99 --client '{client_name}'" in ran.out.splitlines()[-1]
    assert ran.error == "151 lines are malformed and 0 were refused; the others are in the books."


def test_strict_books_nothing_when_any_line_is_malformed(client_name, tmp_path):
    ran = load(statement(tmp_path, CASH, "nonsense"), client_name, "--strict", "--json")

    assert ran.code == 1
    assert (ran.answer["lines"], ran.answer["booked"], ran.answer["malformed"]) == (2, 0, 1)
    assert ran.error == "1 lines are malformed; nothing was booked (--strict)."
    assert not Client.objects.filter(name=client_name).exists()

    assert load(statement(tmp_path, CASH), client_name, "--strict", "--json").answer["booked"] == 1


def test_a_line_with_a_known_id_and_another_content_is_refused_and_moves_nothing(client_name, tmp_path):
    load(statement(tmp_path, CASH), client_name)

    ran = load(statement(tmp_path, line(trans_id="2"), line(amount="701.00")), client_name, "--json")

    assert ran.code == 1
    assert (ran.answer["booked"], ran.answer["already_booked"], ran.answer["refused"]) == (1, 0, 1)
    assert [(one["line"], one["code"]) for one in ran.answer["problems"]] == [(3, "idempotency_key_reused")]
    assert Account.objects.get(client__name=client_name, path="customers:pkdd99:7:CZK").balance.posted_minor == 140000


def test_a_line_that_comes_twice_is_booked_once(client_name, tmp_path):
    ran = load(statement(tmp_path, CASH, CASH), client_name, "--json")

    assert (ran.code, ran.answer["booked"], ran.answer["already_booked"]) == (0, 1, 1)
    assert booked(client_name) == 1


def test_what_the_books_refuse_is_reported_now_and_again(client_name, tmp_path):
    load(statement(tmp_path, CASH), client_name)
    account = Account.objects.get(client__name=client_name, path="customers:pkdd99:7:CZK")
    freeze_account(
        client_id=account.client_id, account_id=account.public_id, sides=Frozen.BOTH, actor="test", reason="a test"
    )
    file = statement(tmp_path, line(trans_id="2"))

    for _ in range(2):
        ran = load(file, client_name, "--json")
        assert (ran.code, ran.answer["booked"], ran.answer["refused"]) == (1, 0, 1)
        assert [one["code"] for one in ran.answer["problems"]] == ["account_frozen"]
    account.balance.refresh_from_db()
    assert account.balance.posted_minor == 70000


def test_accounts_that_stand_already_are_used_as_they_are(client_name, tmp_path):
    client = Client.objects.create(name=client_name)
    opening = Opening(path="customers:pkdd99:7:CZK", currency="CZK", kind="liability", floor="-10.00")
    open_account(client_id=client.pk, opening=opening)

    ran = load(statement(tmp_path, line(type="VYBER", operation="VYBER", balance="-700.00")), client_name, "--json")

    assert (ran.answer["refused"], ran.answer["accounts_opened"]) == (1, 1)
    assert ran.answer["problems"][0]["code"] == "insufficient_funds"


def test_wrong_files_banks_and_clients_are_plain_errors(client_name, tmp_path):
    assert (
        load(tmp_path / "none", client_name).error == f"{tmp_path / 'none'} cannot be read: No such file or directory."
    )
    assert load(tmp_path, client_name).error == f"{tmp_path} cannot be read: Is a directory."
    (tmp_path / "other").write_text("a;b\n")
    assert load(tmp_path / "other", client_name).error == (
        "This is no statement of pkdd99: line 1: it does not name one column 'date'. (statement_malformed)"
    )
    for name in ("", "n" * 101):
        assert load(DATA, name).error == "A client's name has 1 to 100 characters. (client_name_malformed)"
    assert (
        "There is no mapping 'hsbc'" in run("import_statement", DATA, "--bank", "hsbc", "--client", client_name).error
    )
    assert not Client.objects.filter(name=client_name).exists()


def import_beside(file: Path, name: str) -> subprocess.Popen[str]:
    """Start an import in a process of its own and return when some of it is booked."""
    process = start("import_statement", file, "--bank", "pkdd99", "--client", name, "--json")
    deadline = time.monotonic() + 60
    while not booked(name):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was booked in time"
        time.sleep(0.005)
    return process


def test_a_killed_import_run_again_completes_and_books_nothing_twice(client_name, six_thousand):
    process = import_beside(six_thousand, client_name)
    process.kill()
    process.communicate()
    before = booked(client_name)
    assert 0 < before < 6000

    ran = load(six_thousand, client_name, "--json")

    assert (ran.code, ran.answer["booked"], ran.answer["already_booked"]) == (0, 6000 - before, before)
    assert booked(client_name) == 6000


def test_ctrl_c_ends_plainly_with_130_and_what_is_booked_stands(client_name, six_thousand):
    process = import_beside(six_thousand, client_name)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert error == "Interrupted. What is booked stands; run it again to book the rest.\n"
    before = booked(client_name)
    assert 0 < before < 6000
    assert before % 1000 == 0
    assert load(six_thousand, client_name, "--json").answer["already_booked"] == before


def read_all(terminal) -> bytes:
    """Read until the other side is closed, which a terminal says with an error."""
    shown = b""
    try:
        while part := terminal.read(4096):
            shown += part
    except OSError:
        pass
    return shown


@pytest.mark.parametrize(
    ("command", "shown", "printed"),
    [("import_statement", b"statement.asc: 100%", b"booked"), ("reconcile_statement", b"compared: 100%", b"matched")],
)
def test_a_terminal_sees_progress_and_a_pipe_does_not(client_name, tmp_path, command, shown, printed):
    file = statement(tmp_path, CASH)
    arguments = (command, file, "--mapping", "pkdd99", "--client", client_name)
    load(file, client_name)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 100))
    process_arguments = [sys.executable, "manage.py", *map(str, arguments)]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            process_arguments, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        out, _ = process.communicate(timeout=60)
        assert shown in read_all(terminal)
    assert printed in out

    piped = start(*arguments)
    assert piped.communicate(timeout=60)[1] == ""


def test_a_mapping_that_does_not_say_what_a_line_is_imports_nothing(client_name, tmp_path):
    ran = run("import_statement", statement(tmp_path, CASH), "--mapping", "iso_signed", "--client", client_name)

    assert ran.error == (
        "To be imported by iso_signed, a statement needs columns.account, account_path, currency, types in the mapping."
        " (mapping_incomplete)"
    )
    assert not Client.objects.filter(name=client_name).exists()


def test_a_mapping_of_ones_own_imports_too(client_name, tmp_path):
    (tmp_path / "credit-union.toml").write_text(
        """
        currency = "USD"
        account_path = "members:{account}"
        [columns]
        id = "no"
        account = "member"
        date = "day"
        amount = "amount"
        [date]
        format = "MM/DD/YYYY"
        [[types]]
        column = "what"
        values = { deposit = "cash_in", withdrawal = "cash_out" }
        """
    )
    (tmp_path / "members.csv").write_text(
        "no,member,day,amount,what\n1,ann,03/01/2026,10.00,deposit\n2,ann,03/02/2026,-4,withdrawal\n"
        "3,ann,03/03/2026,-1,deposit\n"
    )
    arguments = (tmp_path / "members.csv", "--mapping", tmp_path / "credit-union.toml", "--client", client_name)

    ran = run("import_statement", *arguments, "--json")

    assert (ran.answer["bank"], ran.answer["booked"]) == ("credit-union", 2)
    assert [one["reason"] for one in ran.answer["problems"]] == ["amount '-1' contradicts cash_in"]
    row = Account.objects.select_related("balance").get(client__name=client_name, path="members:ann")
    assert (row.user_id, row.balance.posted_minor) == ("credit-union:ann", 600)
