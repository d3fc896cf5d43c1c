"""Mappings: what the ready ones read, how dates and numbers are written, and what is no mapping or does not fit it."""

from __future__ import annotations

from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from config.api.decoding import decode
from config.runtime.errors import Invalid
from ledger.errors import StatementMalformed
from ledger.statements import BANKS, Bank, MalformedLine, StatementLine, StatementMapping
from ledger.statements.formats import ValueMalformed, date_reader, number_reader
from ledger.statements.reader import read_statement
from ledger.statements.sorting import sorted_by_account

PLAIN: dict[str, Any] = {"columns": {"date": "day", "amount": "sum"}, "date": {"format": "YYYY-MM-DD"}}


def read(
    mapping: str | dict[str, Any], content: str | bytes, currency: str = "EUR", exponent: int = 2
) -> list[StatementLine | MalformedLine]:
    bank = BANKS[mapping] if isinstance(mapping, str) else Bank("test", decode(mapping, StatementMapping))
    raw = content if isinstance(content, bytes) else content.encode(bank.mapping.encoding)
    return list(read_statement(bank, BytesIO(raw), currency=currency, exponent=exponent))


def said(line: StatementLine | MalformedLine) -> dict[str, Any]:
    """Return what a line says, without what is not there."""
    assert isinstance(line, StatementLine), line
    everything = {name: getattr(line, name) for name in StatementLine.__slots__ if name != "content_hash"}
    return {name: value for name, value in everything.items() if value not in (None, {})}


# One statement of each ready mapping, with a line that lowers the balance and one that raises it.
SAMPLES = {
    "eu_debit_credit": (
        (
            "Date;Reference;Description;Counterparty;Debit;Credit;Balance;Currency\r\n"
            "1.3.2026;INV-7;Büro;Müller & Söhne;1.234,50;;8.765,50;EUR\r\n"
            '02.03.2026;;"Miete; März";;0,00;100;8.865,50;EUR\r\n'
        ),
        {"on": date(2026, 3, 1), "amount_minor": -123450, "balance_minor": 876550, "reference": "INV-7"}
        | {"description": "Büro", "counterparty": "Müller & Söhne", "number": 2},
        {"on": date(2026, 3, 2), "amount_minor": 10000, "balance_minor": 886550, "number": 3}
        | {"description": "Miete; März"},
    ),
    "iso_signed": (
        (
            "\ufeffid,date,reference,description,counterparty,amount,balance\n"
            "b-1,2026-03-01,INV-7,Rent,Smith,-1234.5,8765.50\n"
            "b-2,2026-03-02,,,,+0.07,8765.57\n"
        ),
        {"id": "b-1", "on": date(2026, 3, 1), "amount_minor": -123450, "balance_minor": 876550, "number": 2}
        | {"reference": "INV-7", "description": "Rent", "counterparty": "Smith"},
        {"id": "b-2", "on": date(2026, 3, 2), "amount_minor": 7, "balance_minor": 876557, "number": 3},
    ),
    "pkdd99": (
        (
            '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"\n'
            '276579;947;931113;"VYDAJ";"PREVOD NA UCET";1546.00;28201.50;"SIPO";"GH";"67947453"\n'
            '1;7;930101;"PRIJEM";"VKLAD";700.00;-700.00;"";;\n'
        ),
        {"id": "276579", "account": "947", "on": date(1993, 11, 13), "type": "bank_transfer_out", "number": 2}
        | {"amount_minor": -154600, "balance_minor": 2820150, "counterparty": "67947453"}
        | {"metadata": {"k_symbol": "SIPO", "counterparty_bank": "GH", "counterparty_account": "67947453"}},
        {"id": "1", "account": "7", "on": date(1993, 1, 1), "type": "cash_in", "number": 3}
        | {"amount_minor": 70000, "balance_minor": -70000},
    ),
    "us_signed": (
        (
            "Date,Description,Amount,Balance\n"
            '3/1/2026,"ACME, INC.","-1,234.50","8,765.50"\n'
            "03/12/2026,PAYROLL,0.99,8766.49\n"
        ),
        {"on": date(2026, 3, 1), "amount_minor": -123450, "balance_minor": 876550, "description": "ACME, INC."}
        | {"number": 2},
        {"on": date(2026, 3, 12), "amount_minor": 99, "balance_minor": 876649, "description": "PAYROLL", "number": 3},
    ),
}


def test_every_ready_mapping_has_a_sample_here_and_a_title():
    files = {file.stem for file in Path("ledger/statements/mappings").iterdir()}
    assert files == BANKS.keys() == SAMPLES.keys()
    assert all(bank.mapping.title for bank in BANKS.values())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_ready_mapping_reads_its_bank_s_statement(name):
    content, *expected = SAMPLES[name]
    assert [said(line) for line in read(name, content)] == expected


def test_columns_have_numbers_where_there_is_no_header_and_lines_around_the_statement_are_passed_over():
    mapping = {
        "header": False,
        "skip_lines": 2,
        "ends_before": "Total",
        "delimiter": "\t",
        "columns": {"date": 3, "amount": 1},
        "date": {"format": "DDMMMYY", "century": 2000},
    }
    content = "My bank\n\n5\tx\t01Mar26\n\n-7.25\ty\t31DEC25\nTotal\t-2.25\nand more\n"

    assert [said(line) for line in read(mapping, content)] == [
        {"number": 3, "on": date(2026, 3, 1), "amount_minor": 500},
        {"number": 5, "on": date(2025, 12, 31), "amount_minor": -725},
    ]
    assert read(mapping, "\n\n5\tx\n1\tx\t01Mar26\n") == [
        MalformedLine(3, "it has 2 fields, not 3"),
        *read(mapping, "\n\n\n1\tx\t01Mar26\n"),
    ]


def test_debits_may_have_a_minus_where_the_mapping_says_so():
    mapping = {
        "columns": {"date": "day", "debit": "out", "credit": "in"},
        "date": {"format": "YYYY-MM-DD"},
        "number": {"negative_debits": True},
    }
    lines = read(mapping, "day,out,in\n2026-03-01,-5.00,\n2026-03-01,0,5\n2026-03-01,5,\n")

    assert [said(line)["amount_minor"] for line in lines[:2]] == [-500, 500]
    assert lines[2] == MalformedLine(4, "out '5' has the wrong sign")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2026-03-01,1", "it has 2 fields, not 3"),
        (",1,", "day '' is no date YYYY-MM-DD"),
        ("2026-03-01,,", "one of out '' and in '' has an amount"),
        ("2026-03-01,0,0.00", "one of out '0' and in '0.00' has an amount"),
        ("2026-03-01,1,2", "one of out '1' and in '2' has an amount"),
        ("2026-03-01,-1,", "out '-1' has the wrong sign"),
        ("2026-03-01,,-1", "in '-1' has the wrong sign"),
        ("2026-03-01,x,", "out 'x' is no number such as 1234.56"),
        (f"2026-03-01,{'9' * 38},", f"out '{'9' * 38}' has more than 38 digits"),
    ],
)
def test_a_line_of_debit_and_credit_that_does_not_fit_has_a_reason(row, reason):
    mapping = {"columns": {"date": "day", "debit": "out", "credit": "in"}, "date": {"format": "YYYY-MM-DD"}}

    assert read(mapping, f"day,out,in\n{row}\n") == [MalformedLine(2, reason)]


def test_a_line_of_another_currency_or_a_direction_that_is_unknown_does_not_fit():
    mapping = PLAIN | {
        "columns": {"date": "day", "amount": "sum", "direction": "side", "currency": "unit"},
        "direction": {"debit": ["D"], "credit": ["C"]},
    }
    lines = read(mapping, "day,sum,side,unit\n2026-03-01,1,D,EUR\n2026-03-01,1,X,EUR\n2026-03-01,1,C,USD\n")

    assert said(lines[0])["amount_minor"] == -100
    assert lines[1:] == [MalformedLine(3, "side 'X' is unknown"), MalformedLine(4, "unit 'USD' is not EUR")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "line 1: it does not name one column 'day'"),
        ("day\n", "line 1: it does not name one column 'sum'"),
        ("day,sum,sum\n", "line 1: it does not name one column 'sum'"),
        ('day,"sum\n', "line 1: its quotes are wrong (unexpected end of data)"),
    ],
)
def test_a_header_that_lacks_a_column_or_has_it_twice_is_refused(content, reason):
    with pytest.raises(StatementMalformed) as refused:
        read(PLAIN, content)

    assert refused.value.detail == f"This is no statement of test: {reason}."
    assert refused.value.fields == {"line": 1}


def test_bytes_that_are_not_of_the_encoding_are_a_malformed_line():
    content = "day,sum\n2026-03-01,1\nMärz,1\n".encode("iso-8859-1")
    assert read(PLAIN, content)[1] == MalformedLine(3, "it is not UTF-8")
    assert read(PLAIN | {"encoding": "iso-8859-1"}, content)[1] == MalformedLine(3, "day 'März' is no date YYYY-MM-DD")


@pytest.mark.parametrize(
    ("form", "text", "on"),
    [
        ("YYYY-MM-DD", "2026-03-01", date(2026, 3, 1)),
        ("DD.MM.YYYY", "01.03.2026", date(2026, 3, 1)),
        ("D.M.YYYY", "1.12.2026", date(2026, 12, 1)),
        ("D.M.YYYY", "01.03.2026", date(2026, 3, 1)),
        ("MM/DD/YYYY", "03/01/2026", date(2026, 3, 1)),
        ("DD MMM YYYY", "01 Mar 2026", date(2026, 3, 1)),
        ("YYYYMMDD", "20260301", date(2026, 3, 1)),
        ("YYYY-MM-DDThh:mm:ssZ", "2026-03-01T23:59:59Z", date(2026, 3, 1)),
        ("DD.MM.YYYY", "1.3.2026", None),
        ("DD.MM.YYYY", "01-03-2026", None),
        ("DD.MM.YYYY", "31.04.2026", None),
        ("DD.MM.YYYY", "01.03.20261", None),
        ("DD.MM.YYYY", "01.03.0026", None),
        ("DD.MM.YYYY", "٣1.03.2026", None),
        ("DD MMM YYYY", "01 Mai 2026", None),
        ("YYYY-MM-DD hh:mm", "2026-03-01 24:00", None),
    ],
)
def test_a_date_has_exactly_its_form(form, text, on):
    reader = date_reader(form, None)
    if on is not None:
        assert reader(text) == on
    else:
        with pytest.raises(ValueMalformed, match="is no date"):
            reader(text)


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "exponent", "minor"),
    [
        (".", "", "1234.56", 2, 123456),
        (".", "", "-1234.5", 2, -123450),
        (".", "", "+7", 2, 700),
        (".", "", "007.10", 2, 710),
        (".", "", "1000.00", 0, 1000),
        (".", ",", "1,234,567.89", 2, 123456789),
        (".", ",", "1234.56", 2, 123456),
        (",", ".", "-1.234,56", 2, -123456),
        (",", "\u00a0", "1\u00a0234,5", 3, 1234500),
        (".", "'", "1'234.00", 2, 123400),
        (".", "", "0.000000000000000001", 18, 1),
        (".", "", "1,234.56", 2, None),
        (".", ",", "12,34.56", 2, None),
        (".", ",", ",234.56", 2, None),
        (",", ".", "1.23", 2, None),
        (".", "", "1.005", 2, None),
        (".", "", ".5", 2, None),
        (".", "", "5.", 2, None),
        (".", "", "", 2, None),
        (".", "", "--5", 2, None),
        (".", "", "٣", 2, None),
        (".", "", "1e3", 2, None),
        (".", "", "1.50", 0, None),
        (".", "", "9" * 37, 2, None),
    ],
)
def test_a_number_has_exactly_its_form(decimal, thousands, text, exponent, minor):
    reader = number_reader(decimal, thousands)
    if minor is not None:
        assert reader(text, exponent) == minor
    else:
        with pytest.raises(ValueMalformed):
            reader(text, exponent)


def changed(**parts: Any) -> dict[str, Any]:
    return PLAIN | parts


def columns(**more: Any) -> dict[str, Any]:
    return changed(columns={"date": "day", "amount": "sum"} | more)


@pytest.mark.parametrize(
    ("mapping", "pointer", "code", "detail"),
    [
        ({}, "/columns", "field_missing", "columns"),
        (changed(colums={}), "/colums", "field_unknown", "colums"),
        (changed(columns={"date": "day"}), "/columns", "field_invalid", "either amount, or debit and credit"),
        (changed(columns={"amount": "sum"}), "/columns/date", "field_missing", "date"),
        (columns(dat="day"), "/columns/dat", "field_unknown", "dat"),
        (columns(balance=""), "/columns/balance", "field_length", "length >= 1"),
        (columns(balance=1.5), "/columns/balance", "field_type", "got `"),
        (columns(debit="out"), "/columns", "field_invalid", "debit and credit go together"),
        (columns(debit="out", credit="in"), "/columns", "field_invalid", "either amount, or debit and credit"),
        (columns(direction="side"), "", "field_invalid", "columns.direction and the table direction go together"),
        (columns(balance=3), "", "field_invalid", "the column 3: with a header columns have names"),
        (changed(header=False), "", "field_invalid", "the column 'day': with a header columns have names"),
        (changed(delimiter="x"), "/delimiter", "field_choice", "'x'"),
        (changed(encoding="utf-16"), "/encoding", "field_choice", "'utf-16'"),
        (changed(currency="euro"), "/currency", "field_pattern", "regex"),
        (changed(skip_lines=-1), "/skip_lines", "field_range", ">= 0"),
        (changed(rounding="0,50"), "", "field_invalid", "rounding '0,50'"),
        (changed(date={"format": "MM/YYYY"}), "/date", "field_invalid", "'MM/YYYY' does not have one day"),
        (changed(date={"format": "DD.DD.YYYY"}), "/date", "field_invalid", "does not have one month"),
        (changed(date={"format": "%d.%m.%Y"}), "/date", "field_invalid", "has '%', which is neither one of YYYY"),
        (changed(date={"format": "DMYYYY"}), "/date", "field_invalid", "does not tell where D ends"),
        (changed(date={"format": "YYMMDD"}), "/date", "field_invalid", "a century goes with a year of two digits"),
        (changed(date={"format": "YYYYMMDD", "century": 1900}), "/date", "field_invalid", "a century goes with"),
        (changed(date={"format": "YYMMDD", "century": 1950}), "/date/century", "field_choice", "1950"),
        (changed(number={"decimal": ";"}), "/number/decimal", "field_choice", "';'"),
        (changed(number={"decimal": ",", "thousands": ","}), "/number", "field_invalid", "cannot both separate"),
        (changed(number={"negative_debits": True}), "", "field_invalid", "negative_debits goes with columns.debit"),
        (changed(direction={"debit": ["D"], "credit": ["D"]}), "/direction", "field_invalid", "values of their own"),
        (changed(direction={"debit": ["D"], "credit": []}), "/direction", "field_invalid", "values of their own"),
        (changed(account_path="banks:{account}"), "", "field_invalid", "account_path goes with columns.account"),
        (
            columns(account="iban") | {"account_path": "banks:main"},
            "",
            "field_invalid",
            "account_path 'banks:main' is no path with {account} in it",
        ),
        (
            columns(account="iban") | {"account_path": "{account}:{0.__class__}"},
            "",
            "field_invalid",
            "is no path with {account} in it",
        ),
        (
            changed(types=[{"column": "kind", "values": {"X": "transfer"}}]),
            "/types/0",
            "field_invalid",
            "'X': 'transfer' is no type that a statement's line can have",
        ),
        (changed(types=[{"column": "kind", "values": {}}]), "/types/0/values", "field_length", "length >= 1"),
        (changed(metadata={"a b": "day"}), "/metadata", "field_pattern", "regex"),
        (changed(metadata={"a": 1}), "", "field_invalid", "the column 1: with a header columns have names"),
    ],
)
def test_what_is_no_mapping_is_refused_at_its_place(mapping, pointer, code, detail):
    with pytest.raises(Invalid) as refused:
        decode(mapping, StatementMapping)

    (error,) = refused.value.errors
    assert (error.pointer, error.code) == (pointer, code), error.detail
    assert detail in error.detail


@pytest.mark.parametrize("name", BANKS)
def test_a_mapping_is_the_same_as_toml_and_as_json(name):
    assert decode(to_builtins(BANKS[name].mapping), StatementMapping) == BANKS[name].mapping


@pytest.mark.parametrize("in_memory_max", [1, 2, 7, 100])
def test_many_lines_are_sorted_by_account_in_parts_and_stay_what_they_are(in_memory_max):
    lines = [
        StatementLine(
            number=number,
            on=date(2026, 3, 1) + timedelta(days=number),
            amount_minor=(-1) ** number * number * 10**20,
            content_hash=bytes([number]),
            account=str(number % 3),
            balance_minor=None if number % 2 else number,
            description='Ž "quoted"\u2028',
            metadata={"a": "b"},
        )
        for number in range(30)
    ]

    with sorted_by_account(iter(lines), in_memory_max=in_memory_max) as ordered:
        assert list(ordered) == sorted(lines, key=lambda line: (line.account or "", line.number))
