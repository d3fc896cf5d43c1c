"""Read a bank's statement by its mapping; what does not fit the mapping is malformed, and says why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from io import BufferedIOBase

from ledger.errors import StatementMalformed
from ledger.kinds import KINDS
from ledger.statements.base import Bank, LineMalformed, MalformedLine, StatementLine
from ledger.statements.files import DAMAGES, LineFile
from ledger.statements.formats import ValueMalformed, date_reader, number_reader
from ledger.statements.mapping import Column

# As in the metadata of a transaction that the API takes.
METADATA_LENGTH_MAX = 500
_ID = re.compile(r"[\x21-\x7e]{1,100}")
# A segment of a path, and room for an IBAN.
_ACCOUNT = re.compile(r"[A-Za-z0-9_.@+-]{1,34}")


def read_statement(
    bank: Bank, content: BufferedIOBase, *, currency: str, exponent: int
) -> Iterator[StatementLine | MalformedLine]:
    """Check the header now, and return the lines, read as they are asked for; empty ones are passed over.

    A file that is damaged ends with a malformed line. `exponent` is the number of decimals of the currency.

    Raises:
        StatementMalformed: the header is not that of the mapping.
    """
    file = LineFile(bank.mapping, content)
    try:
        for _ in range(bank.mapping.skip_lines):
            file.next_line()
        header = file.split(file.next_line()) if bank.mapping.header else None
        reader = _LineReader(bank, header, currency=currency, exponent=exponent)
    except (LineMalformed, *DAMAGES) as error:
        raise StatementMalformed(
            f"This is no statement of {bank.name}: line {file.number}: {error}.", line=file.number
        ) from error
    return _lines(file, reader)


def _lines(file: LineFile, reader: _LineReader) -> Iterator[StatementLine | MalformedLine]:
    try:
        while line := file.next_line():
            try:
                fields = file.split(line)
                if reader.is_end(fields):
                    return
                if fields:
                    yield reader.read(file.number, fields)
            except LineMalformed as malformed:
                yield MalformedLine(file.number, str(malformed))
    except DAMAGES as error:
        yield MalformedLine(file.number + 1, f"the file is damaged from here on ({error})")


class _Fields:
    """The fields of one line, by the columns of the mapping."""

    def __init__(self, places: dict[Column, int], fields: list[str]) -> None:
        self._places = places
        self.all = fields

    def __getitem__(self, column: Column) -> str:
        return self.all[self._places[column]]

    def text(self, column: Column | None) -> str | None:
        """Return a text, None where there is none."""
        return None if column is None else self[column] or None

    def formed(self, column: Column | None, form: re.Pattern[str], meaning: str) -> str | None:
        """Return what the bank calls something, None where the mapping has no column for it.

        Raises:
            LineMalformed: it does not have this form.
        """
        if column is None:
            return None
        if not form.fullmatch(self[column]):
            raise LineMalformed(f"{column} {self[column]!r} is not {meaning}")
        return self[column]


class _LineReader:
    """Knows where each column stands and how its values are written."""

    def __init__(self, bank: Bank, header: list[str] | None, *, currency: str, exponent: int) -> None:
        """Raises LineMalformed: the header lacks a column, or names it twice."""
        self._bank, self._mapping, self._columns = bank, bank.mapping, bank.mapping.columns
        self._currency, self._exponent = currency, exponent
        self._date = date_reader(self._mapping.date.format, self._mapping.date.century)
        self._number = number_reader(self._mapping.number.decimal, self._mapping.number.thousands)
        self._width = None if header is None else len(header)
        self._places: dict[Column, int] = {}
        for column in self._mapping.all_columns():
            if header is None or isinstance(column, int):
                self._places[column] = int(column) - 1
            elif header.count(column) != 1:
                raise LineMalformed(f"it does not name one column {column!r}")
            else:
                self._places[column] = header.index(column)

    def is_end(self, fields: list[str]) -> bool:
        """Whether the bank's lines end before this one."""
        return self._mapping.ends_before is not None and fields[:1] == [self._mapping.ends_before]

    def read(self, number: int, texts: list[str]) -> StatementLine:
        """Return a line, understood.

        Raises:
            LineMalformed: a field is not what the mapping says, or the fields contradict one another.
        """
        columns = self._columns
        fields = self._fields(texts)
        if columns.currency is not None and fields[columns.currency] != self._currency:
            raise LineMalformed(f"{columns.currency} {fields[columns.currency]!r} is not {self._currency}")
        amount = self._amount(fields)
        return StatementLine(
            number=number,
            id=fields.formed(columns.id, _ID, "1 to 100 visible ASCII characters"),
            account=fields.formed(columns.account, _ACCOUNT, "1 to 34 of A-Z a-z 0-9 _ . @ + -"),
            on=self._read_date(fields, columns.date),
            type=self._type(fields, is_debit=amount < 0),
            amount_minor=amount,
            balance_minor=None if columns.balance is None else self._read_number(fields, columns.balance),
            reference=fields.text(columns.reference),
            description=fields.text(columns.description),
            counterparty=fields.text(columns.counterparty),
            # No field holds a control character, so that the joined text says where each ends.
            content_hash=hashlib.sha256("\n".join((self._bank.name, *texts)).encode()).digest(),
            metadata=self._metadata(fields),
        )

    def _fields(self, texts: list[str]) -> _Fields:
        if self._width is None:  # there is no header: the first line says it
            self._width = max(len(texts), 1 + max(self._places.values()))
        if len(texts) != self._width:
            raise LineMalformed(f"it has {len(texts)} fields, not {self._width}")
        return _Fields(self._places, texts)

    def _read_date(self, fields: _Fields, column: Column) -> date:
        try:
            return self._date(fields[column])
        except ValueMalformed as error:
            raise LineMalformed(f"{column} {error}") from error

    def _read_number(self, fields: _Fields, column: Column) -> int:
        try:
            return self._number(fields[column], self._exponent)
        except ValueMalformed as error:
            raise LineMalformed(f"{column} {error}") from error

    def _amount(self, fields: _Fields) -> int:
        """Return the amount, which is not zero, with its sign."""
        columns = self._columns
        if columns.debit is not None and columns.credit is not None:
            return self._one_of(fields, columns.debit, columns.credit)
        assert columns.amount is not None, "a mapping names amount, or debit and credit"
        amount = self._read_number(fields, columns.amount)
        if amount == 0:
            raise LineMalformed(f"{columns.amount} {fields[columns.amount]!r} is zero")
        if columns.direction is None:
            return amount
        if fields[columns.amount][0] in "+-":
            raise LineMalformed(f"{columns.amount} {fields[columns.amount]!r} has a sign, beside {columns.direction}")
        return -amount if self._is_debit(fields, columns.direction) else amount

    def _one_of(self, fields: _Fields, debit: Column, credit: Column) -> int:
        """Return what stands in one of two columns; the other is empty or zero."""
        sign = -1 if self._mapping.number.negative_debits else 1
        lowers, raises = (self._read_number(fields, column) if fields[column] else 0 for column in (debit, credit))
        if (lowers == 0) == (raises == 0):
            raise LineMalformed(f"one of {debit} {fields[debit]!r} and {credit} {fields[credit]!r} has an amount")
        for column, value in ((debit, sign * lowers), (credit, raises)):
            if value < 0:
                raise LineMalformed(f"{column} {fields[column]!r} has the wrong sign")
        return raises - sign * lowers

    def _is_debit(self, fields: _Fields, column: Column) -> bool:
        directions = self._mapping.direction
        assert directions is not None, "a mapping with the column says what it holds"
        if fields[column] not in (*directions.debit, *directions.credit):
            raise LineMalformed(f"{column} {fields[column]!r} is unknown")
        return fields[column] in directions.debit

    def _type(self, fields: _Fields, *, is_debit: bool) -> str | None:
        """Return what the first column that tells it says; every such column has to be understood."""
        name = None
        for one in self._mapping.types:
            value = fields[one.column]
            if value not in one.values and value not in one.others:
                raise LineMalformed(f"{one.column} {value!r} is unknown")
            name = name or one.values.get(value)
        if name is None and self._mapping.types:
            raise LineMalformed("nothing tells its type")
        if name is not None and KINDS[name].customer_is_debited != is_debit:
            column = self._columns.direction or self._columns.amount or self._columns.debit
            assert column is not None
            raise LineMalformed(f"{column} {fields[column]!r} contradicts {name}")
        return name

    def _metadata(self, fields: _Fields) -> dict[str, str]:
        found = {name: fields[column] for name, column in self._mapping.metadata.items() if fields[column]}
        for name, text in found.items():
            if len(text) > METADATA_LENGTH_MAX:
                raise LineMalformed(f"{name} is longer than {METADATA_LENGTH_MAX} characters")
        return found
