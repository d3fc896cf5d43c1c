"""The forms of an account's statement: CSV for people's spreadsheets, ISO 20022 for programs of banks.

`tests/data/camt.053.001.08.xsd` is the schema of ISO 20022's Registration Authority, unchanged (as it comes with the
package camt053 0.0.23; free to use by iso20022.org/intellectual-property-rights).
"""

from __future__ import annotations

import csv
import io
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xmlschema import XMLSchema

from ledger.api.v2.statement_forms.camt053 import NAMESPACE, Camt053Form
from ledger.api.v2.statement_forms.comma_separated import COLUMNS, CsvForm
from ledger.domain.account_statements import (
    AccountStatementLineShape,
    AccountStatementShape,
    StandShape,
    TurnoverShape,
)
from ledger.domain.shapes import AccountName
from ledger.errors import Camt053Amount
from tests.ledger.drawn import examples
from tests.ledger.test_reversals import paid, reverse
from tests.people import Tenant

XSD = Path(__file__).parents[1] / "data" / "camt.053.001.08.xsd"
HOSTILE = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"]
ALICE = AccountName(UUID("01a1fe88-8ea1-7d22-83b7-d83ac1413223"), "users:alice:USD")
CASH = AccountName(UUID("01a1fe88-8ea1-7d22-83b7-d83ac1413224"), "cash:USD")
LINE = AccountStatementLineShape(
    account_version=1,
    journal_id="01a1fe88-8ea1-7d22-83b7-d83ac1413225",
    line=2,
    journal_kind="post",
    posted_at="2026-07-31T23:59:59.999999Z",
    effective_at="2026-07-30T12:00:00.000000Z",
    transaction_id="01a1fe88-8ea1-7d22-83b7-d83ac1413226",
    receipt_code="RCP-20261121-0S1ESJZGS28P3MTM76VWGM",
    type="transfer",
    reference="invoice 7",
    description="Tea",
    counterparties=(CASH,),
    side="credit",
    amount="10.00",
    balance_after="10.00",
)
STATEMENT = AccountStatementShape(
    account=ALICE,
    kind="liability",
    currency="USD",
    since="2026-07-01T00:00:00.000000Z",
    until="2026-08-01T00:00:00.000000Z",
    opening=StandShape(balance="0.00", version=0),
    closing=StandShape(balance="10.00", version=1),
    debits=TurnoverShape(lines=0, amount="0.00"),
    credits=TurnoverShape(lines=1, amount="10.00"),
    lines=[LINE],
)


def with_line(**changes: Any) -> AccountStatementShape:
    return msgspec.structs.replace(STATEMENT, lines=[msgspec.structs.replace(LINE, **changes)])


@pytest.fixture(scope="module")
def schema() -> XMLSchema:
    return XMLSchema(XSD)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def document(content: bytes) -> ET.Element:
    return ET.fromstring(content)


def texts(element: ET.Element, path: str) -> list[str]:
    """Return the texts at a path whose steps are named without their namespace."""
    steps = "/".join(f"{{{NAMESPACE}}}{step}" for step in path.split("/"))
    return [found.text or "" for found in element.iterfind(f".//{steps}")]


def test_csv_has_a_row_for_each_line_between_the_balances() -> None:
    header = (
        "record,account,currency,posted_at,effective_at,account_version,journal_id,line,journal_kind,transaction_id,"
        "receipt_code,type,reference,description,counterparties,side,amount,balance_after"
    )
    line = (
        "line,users:alice:USD,USD,2026-07-31T23:59:59.999999Z,2026-07-30T12:00:00.000000Z,1,"
        "01a1fe88-8ea1-7d22-83b7-d83ac1413225,2,post,01a1fe88-8ea1-7d22-83b7-d83ac1413226,"
        "RCP-20261121-0S1ESJZGS28P3MTM76VWGM,transfer,invoice 7,Tea,cash:USD,credit,10.00,10.00"
    )
    opening = "opening,users:alice:USD,USD,2026-07-01T00:00:00.000000Z,,0,,,,,,,,,,,,0.00"
    closing = "closing,users:alice:USD,USD,2026-08-01T00:00:00.000000Z,,1,,,,,,,,,,,,10.00"
    assert CsvForm().render(STATEMENT).decode().split("\r\n") == [header, opening, line, closing, ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_no_formula_and_an_amount_stays_a_number(text: str) -> None:
    overdrawn = with_line(reference=text, description=text, side="debit", balance_after="-10.00")
    line = rows_of(CsvForm().render(overdrawn))[1]
    assert (line["reference"], line["description"]) == (f"'{text}", f"'{text}")
    assert (line["amount"], line["balance_after"]) == ("10.00", "-10.00")


def test_a_path_is_no_formula_either() -> None:
    plus = AccountName(CASH.id, "+cash:USD")
    statement = msgspec.structs.replace(with_line(counterparties=(plus, CASH)), account=AccountName(ALICE.id, "@alice"))
    rows = rows_of(CsvForm().render(statement))
    assert {row["account"] for row in rows} == {"'@alice"}
    assert rows[1]["counterparties"] == "'+cash:USD cash:USD"


# What PostgreSQL can store, with more of what the forms take for special.
CHARACTERS = st.sampled_from("\"',;=+-@\r\n\t &<>]") | st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def long(texts: st.SearchStrategy[str], length_max: int) -> st.SearchStrategy[str]:
    """Return texts, many of which are repeated until there is no more room."""
    return st.builds(lambda text, times: (text * times)[:length_max], texts, st.sampled_from([1, 1, 9, length_max]))


REFERENCES = st.none() | long(st.text(CHARACTERS, min_size=1, max_size=20), 255)
DESCRIPTIONS = st.none() | long(st.text(CHARACTERS, min_size=1, max_size=40), 500)


@examples(50)
@given(reference=REFERENCES, description=DESCRIPTIONS)
@example(reference='the "grey" one', description='=1,"2"\r\n"')
def test_every_text_comes_back_from_csv(reference: str | None, description: str | None) -> None:
    content = CsvForm().render(with_line(reference=reference, description=description))
    line = rows_of(content)[1]
    assert line["reference"].removeprefix("'") == (reference or "").removeprefix("'")
    assert line["description"].removeprefix("'") == (description or "").removeprefix("'")
    assert line.keys() == set(COLUMNS.split(","))


def test_a_line_of_camt_053_says_who_paid_what_for(schema: XMLSchema) -> None:
    content = Camt053Form().render(STATEMENT)

    schema.validate(content.decode())
    found = document(content)
    assert texts(found, "FrToDt/FrDtTm") + texts(found, "FrToDt/ToDtTm") == [STATEMENT.since, STATEMENT.until]
    assert texts(found, "Acct/Id/Othr/Id") == [ALICE.id.hex]
    assert texts(found, "Acct/Ccy") + texts(found, "Acct/Nm") == ["USD", "users:alice:USD"]
    assert texts(found, "Bal/Tp/CdOrPrtry/Cd") == ["OPBD", "CLBD"]
    assert texts(found, "Bal/Dt/Dt") == ["2026-07-01", "2026-07-31"]
    assert texts(found, "Bal/Amt") == ["0.00", "10.00"]
    assert texts(found, "TxsSummry/TtlNtries/NbOfNtries") + texts(found, "TxsSummry/TtlNtries/Sum") == ["1", "10.00"]
    assert texts(found, "Ntry/NtryRef") == ["1"]
    assert texts(found, "Ntry/Amt") + texts(found, "Ntry/CdtDbtInd") == ["10.00", "CRDT"]
    assert texts(found, "Ntry/Sts/Cd") == ["BOOK"]
    assert texts(found, "Ntry/BookgDt/Dt") + texts(found, "Ntry/ValDt/Dt") == ["2026-07-31", "2026-07-30"]
    assert texts(found, "Ntry/AcctSvcrRef") == [LINE.receipt_code]
    assert texts(found, "Ntry/BkTxCd/Prtry/Cd") == ["transfer"]
    assert texts(found, "Refs/EndToEndId") == ["invoice 7"]
    assert texts(found, "Refs/TxId") == [UUID(LINE.transaction_id).hex]
    assert texts(found, "RltdPties/Dbtr/Pty/Nm") == ["cash:USD"]
    assert texts(found, "RltdPties/DbtrAcct/Id/Othr/Id") == [CASH.id.hex]
    assert texts(found, "RmtInf/Ustrd") == ["Tea"]
    assert texts(found, "RvslInd") == []


def test_a_debit_names_who_was_paid_and_a_reversal_says_so(schema: XMLSchema) -> None:
    content = Camt053Form().render(with_line(side="debit", journal_kind="reversal", reference=None, description=None))

    schema.validate(content.decode())
    found = document(content)
    assert texts(found, "Ntry/CdtDbtInd") == ["DBIT"]
    assert texts(found, "Ntry/RvslInd") == ["true"]
    assert texts(found, "RltdPties/CdtrAcct/Nm") == ["cash:USD"]
    assert texts(found, "RltdPties/DbtrAcct/Nm") == []
    assert texts(found, "Refs/EndToEndId") == ["NOTPROVIDED"]
    assert texts(found, "RmtInf/Ustrd") == []


def test_a_line_with_several_counterparties_names_them_all(schema: XMLSchema) -> None:
    fees = AccountName(ALICE.id, "fees:USD")
    content = Camt053Form().render(with_line(counterparties=(CASH, fees, ALICE)))

    schema.validate(content.decode())
    found = document(content)
    assert texts(found, "RltdPties/DbtrAcct/Nm") == ["cash:USD"]
    assert texts(found, "TxDtls/AddtlTxInf") == ["fees:USD, users:alice:USD"]


@pytest.mark.parametrize(
    ("kind", "balance", "indicator", "amount"),
    [
        ("liability", "10.00", "CRDT", "10.00"),
        ("liability", "-10.00", "DBIT", "10.00"),
        ("liability", "0.00", "CRDT", "0.00"),
        ("asset", "10.00", "DBIT", "10.00"),
        ("asset", "-0.01", "CRDT", "0.01"),
        ("asset", "0.00", "CRDT", "0.00"),
        ("expense", "1.00", "DBIT", "1.00"),
        ("income", "1.00", "CRDT", "1.00"),
    ],
)
def test_a_balance_has_the_side_that_is_larger(
    schema: XMLSchema, kind: str, balance: str, indicator: str, amount: str
) -> None:
    stand = StandShape(balance=balance, version=1)
    content = Camt053Form().render(msgspec.structs.replace(STATEMENT, kind=kind, opening=stand, closing=stand))
    schema.validate(content.decode())
    assert texts(document(content), "Bal/CdtDbtInd") == [indicator] * 2
    assert texts(document(content), "Bal/Amt") == [amount] * 2


@pytest.mark.parametrize(
    ("until", "day"),
    [
        ("2026-08-01T00:00:00.000000Z", "2026-07-31"),
        ("2026-08-01T00:00:00.000001Z", "2026-08-01"),
        ("2026-08-01T23:59:59.999999Z", "2026-08-01"),
    ],
)
def test_the_closing_balance_is_that_of_the_last_day_within(until: str, day: str) -> None:
    content = Camt053Form().render(msgspec.structs.replace(STATEMENT, until=until))
    assert texts(document(content), "Bal/Dt/Dt") == ["2026-07-01", day]


PATHS = long(st.text("abcXYZ019_.@+-:", min_size=1, max_size=30), 255)
NAMES = st.builds(AccountName, st.uuids(), PATHS)


@examples(80)
@given(
    account=NAMES,
    counterparties=st.lists(NAMES, min_size=1, max_size=10).map(tuple),
    reference=REFERENCES,
    description=DESCRIPTIONS,
    side=st.sampled_from(["debit", "credit"]),
    journal_kind=st.sampled_from(["post", "capture", "reversal"]),
)
def test_whatever_is_said_the_schema_holds_and_nothing_is_lost(
    schema: XMLSchema, account: AccountName, **said: Any
) -> None:
    statement = msgspec.structs.replace(with_line(**said), account=account)

    content = Camt053Form().render(statement)

    schema.validate(content.decode())
    found = document(content)
    reference, description = (
        "".join(" " if unfit(character) else character for character in said[name] or "")
        for name in ("reference", "description")
    )
    (named,), told = texts(found, "Refs/EndToEndId"), "".join(texts(found, "RmtInf/Ustrd"))
    assert named == (reference[:35] or "NOTPROVIDED")
    assert told == (reference if len(reference) > 35 else "") + description


def unfit(character: str) -> bool:
    return unicodedata.category(character) == "Cc" or character in "\ufffe\uffff"


@pytest.mark.parametrize("currency", ["USDC", "USDT", "ETH", "BTC", "SOL"])
def test_a_currency_that_iso_20022_has_no_room_for_is_refused(bank: Tenant, currency: str) -> None:
    coins = bank.open("coins", kind="asset", currency=currency)
    answer = bank.http(Accept="application/xml").get(f"/v2/accounts/{coins.id}/statement")
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"], answer.json()["currency"]) == (422, "camt053_currency", currency)
    assert bank.get(f"/v2/accounts/{coins.id}/statement").status_code == 200


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "10"), ("BHD", "0.001"), ("CLF", "0.0001"), ("KWD", "7.125")])
def test_every_currency_of_iso_4217_is_said_in_its_decimals(
    bank: Tenant, schema: XMLSchema, currency: str, amount: str
) -> None:
    till = bank.open("till", kind="asset", currency=currency)
    bank.move(till.path, bank.open("box", currency=currency).path, amount, currency=currency)
    content = bank.http(Accept="application/xml").get(f"/v2/accounts/{till.id}/statement").content
    schema.validate(content.decode())
    assert texts(document(content), "Ntry/Amt") == [amount]


def test_an_amount_has_18_digits_and_no_more(schema: XMLSchema) -> None:
    largest = "9" * 16 + ".99"
    content = Camt053Form().render(
        msgspec.structs.replace(
            with_line(amount=largest),
            credits=TurnoverShape(lines=1, amount=largest),
            closing=StandShape(balance=f"-{largest}", version=1),
        )
    )
    schema.validate(content.decode())
    beyond = "1" + "0" * 16 + ".00"
    for change in (
        {"opening": StandShape(balance=beyond, version=1)},
        {"closing": StandShape(balance=f"-{beyond}", version=1)},
        {"credits": TurnoverShape(lines=2, amount=beyond)},
        {"credits": TurnoverShape(lines=1, amount=largest), "debits": TurnoverShape(lines=1, amount="0.01")},
    ):
        with pytest.raises(Camt053Amount):
            Camt053Form().render(msgspec.structs.replace(STATEMENT, **change))


def test_the_three_forms_say_the_same_of_real_books(bank: Tenant, schema: XMLSchema) -> None:
    alice = bank.person("alice", holding="10.00")
    bank.move(alice.path, "cash:USD", "2.50", reference="a" * 255, description="Müller & <Söhne>, \x01\r\n=1")
    url = f"/v2/accounts/{alice.id}/statement"
    until = bank.get(url).json()["to"]

    def given(accept: str) -> Any:
        return bank.http(Accept=accept).get(f"{url}?to={until}")

    told, rows, content = given("application/json"), given("text/csv"), given("application/xml")

    assert [one["Content-Type"] for one in (told, rows, content)] == [
        "application/json",
        "text/csv; charset=utf-8",
        "application/xml; charset=utf-8",
    ]
    assert "Accept" in rows["Vary"]
    statement, found = told.json(), document(content.content)
    schema.validate(content.content.decode())
    for name in ("account_version", "posted_at", "side", "amount", "balance_after", "receipt_code", "transaction_id"):
        assert [row[name] for row in rows_of(rows.content)[1:-1]] == [str(line[name]) for line in statement["lines"]]
    assert [line["amount"] for line in statement["lines"]] == texts(found, "Ntry/Amt") == ["10.00", "2.50"]
    signed = zip(texts(found, "Ntry/CdtDbtInd"), texts(found, "Ntry/Amt"), strict=True)
    moved = sum(Decimal(amount) if indicator == "CRDT" else -Decimal(amount) for indicator, amount in signed)
    opening, closing = texts(found, "Bal/Amt")
    assert Decimal(opening) + moved == Decimal(closing) == Decimal("7.50")
    identifier, again, other = (
        texts(document(content), "Stmt/Id")
        for content in (
            content.content,
            given("application/xml").content,
            bank.http(Accept="application/xml").get(url).content,
        )
    )
    assert identifier == again != other


def test_a_reversal_in_real_books_is_marked_as_one(bank: Tenant, schema: XMLSchema) -> None:
    alice, _bob = bank.person("alice", holding="10.00"), bank.person("bob")
    reverse(bank, paid(bank))
    content = bank.http(Accept="application/xml").get(f"/v2/accounts/{alice.id}/statement").content
    schema.validate(content.decode())
    found = document(content)
    assert texts(found, "Ntry/CdtDbtInd") == ["CRDT", "DBIT", "CRDT"]
    assert texts(found, "Ntry/RvslInd") == ["true"]


def test_the_schema_of_the_api_tells_of_every_form(bank: Tenant) -> None:
    operation = bank.get("/v2/schema").json()["paths"]["/v2/accounts/{id}/statement"]["get"]
    assert operation["responses"]["200"]["content"].keys() == {"application/json", "text/csv", "application/xml"}
    parameters = {one["name"]: one["schema"] for one in operation["parameters"] if one["in"] == "query"}
    assert parameters.keys() == {"from", "to"}
    assert "422" in operation["responses"]
