"""What a mapping file says: how one bank writes its statements. The same as TOML in a file and as JSON in a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ledger.domain.accounts import is_path
from ledger.domain.money import AmountInvalid, parse_amount
from ledger.kinds import KINDS
from ledger.statements.formats import date_reader, number_reader

Column = (
    Annotated[str, Meta(min_length=1, max_length=100, description="Its name in the header.")]
    | Annotated[int, Meta(ge=1, le=100, description="Its place from 1, where there is no header.")]
)
Values = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=100)]
MetadataName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,40}\Z")]
CurrencyCode = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{2,16}\Z")]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a mapping: an unknown name in it is refused."""


class StatementColumns(_Part, frozen=True, kw_only=True):
    """Which column says what.

    A line's amount stands in `amount`, with its sign or with a `direction`, or in one of `debit` and `credit`; an
    amount that raises the balance is above zero. `id` is the bank's own number of the line, which no other line has.
    """

    date: Column
    amount: Column | None = None
    direction: Column | None = None
    debit: Column | None = None
    credit: Column | None = None
    balance: Column | None = None
    currency: Column | None = None
    account: Column | None = None
    id: Column | None = None
    reference: Column | None = None
    description: Column | None = None
    counterparty: Column | None = None

    def __post_init__(self) -> None:
        if (self.debit is None) != (self.credit is None):
            raise ValueError("debit and credit go together")
        if (self.amount is None) == (self.debit is None):
            raise ValueError("either amount, or debit and credit")
        if self.direction is not None and self.amount is None:
            raise ValueError("direction goes with amount")

    def named(self) -> Iterator[Column]:
        """Yield every column that is named."""
        for name in self.__struct_fields__:
            column = getattr(self, name)
            if column is not None:
                yield column


class StatementDates(_Part, frozen=True, kw_only=True):
    """How dates are written: YYYY or YY, MM or M or MMM (Jan), DD or D, and hh, mm, ss, between any of -./:, TZ.

    A year YY is one of the `century` (1900 or 2000).
    """

    format: Annotated[str, Meta(min_length=3, max_length=40)]
    century: Literal[1900, 2000] | None = None

    def __post_init__(self) -> None:
        date_reader(self.format, self.century)


class StatementNumbers(_Part, frozen=True, kw_only=True):
    """How amounts are written. With `negative_debits`, those in the column `debit` have a minus sign."""

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'", "\u2019", "\u00a0", "\u202f"] = ""
    negative_debits: bool = False

    def __post_init__(self) -> None:
        number_reader(self.decimal, self.thousands)


class StatementDirections(_Part, frozen=True, kw_only=True):
    """What the column `direction` says of an amount that lowers the balance, and of one that raises it."""

    debit: Values
    credit: Values

    def __post_init__(self) -> None:
        if not self.debit or not self.credit or set(self.debit) & set(self.credit):
            raise ValueError("debit and credit have values of their own")


class StatementTypes(_Part, frozen=True, kw_only=True):
    """A column that may tell a line's transaction type. Of `others` the next such column decides; no other is known."""

    column: Column
    values: Annotated[dict[str, str], Meta(min_length=1, max_length=100)]
    others: Values = []

    def __post_init__(self) -> None:
        for value, name in self.values.items():
            if name not in KINDS or KINDS[name].counter is None:
                raise ValueError(f"{value!r}: {name!r} is no type that a statement's line can have")


class StatementMapping(_Part, frozen=True, kw_only=True):
    """How a bank writes its statements: CSV, one line for each movement, quotes doubled within quotes.

    `skip_lines` stand before the header, and the line whose first field is `ends_before` ends it. `rounding` is how far
    a printed balance may be off by the bank's own rounding. `account_path` names our account for a number in the column
    `account`: a path with {account} in it, and maybe {currency}. `types` and `metadata` are for importing.
    """

    title: Annotated[str, Meta(max_length=200)] = ""
    encoding: Literal["ascii", "utf-8", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1250", "windows-1252"] = (
        "utf-8"
    )
    delimiter: Literal[",", ";", "\t", "|"] = ","
    header: bool = True
    skip_lines: Annotated[int, Meta(ge=0, le=100)] = 0
    ends_before: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    currency: CurrencyCode | None = None
    rounding: Annotated[str, Meta(max_length=20)] = "0"
    account_path: Annotated[str, Meta(max_length=200)] | None = None
    columns: StatementColumns
    date: StatementDates
    number: StatementNumbers = StatementNumbers()
    direction: StatementDirections | None = None
    types: Annotated[list[StatementTypes], Meta(max_length=10)] = []
    metadata: Annotated[dict[MetadataName, Column], Meta(max_length=20)] = {}

    def __post_init__(self) -> None:
        wanted = str if self.header else int
        odd = next((column for column in self.all_columns() if not isinstance(column, wanted)), None)
        if odd is not None:
            raise ValueError(f"the column {odd!r}: with a header columns have names, without one numbers from 1")
        if (self.columns.direction is None) != (self.direction is None):
            raise ValueError("columns.direction and the table direction go together")
        if self.number.negative_debits and self.columns.debit is None:
            raise ValueError("number.negative_debits goes with columns.debit")
        if self.account_path is not None:
            _check_path(self)
        try:
            parse_amount(self.rounding, exponent=18)
        except AmountInvalid as error:
            raise ValueError(f"rounding {self.rounding!r}: {error}") from error

    def all_columns(self) -> Iterator[Column]:
        """Yield every column that the mapping reads."""
        yield from self.columns.named()
        yield from (one.column for one in self.types)
        yield from self.metadata.values()


def _check_path(mapping: StatementMapping) -> None:
    path = (mapping.account_path or "").replace("{currency}", "USD")
    if "{account}" not in path or not is_path(path.replace("{account}", "1")):
        raise ValueError(f"account_path {mapping.account_path!r} is no path with {{account}} in it")
    if mapping.columns.account is None:
        raise ValueError("account_path goes with columns.account")
