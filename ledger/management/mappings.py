"""The option --mapping: a ready mapping's name, or a file with another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from config.api.decoding import decode
from config.runtime.errors import Invalid
from ledger.queries.accounts import exponent_of
from ledger.statements import BANKS, Bank, StatementMapping

# It begins the user ids of customers whose statements are imported, and the keys of their lines.
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,29}")


def add_mapping(parser: CommandParser) -> None:
    """Add the option; --bank is its name from when there was one bank."""
    parser.add_argument(
        *("--mapping", "--bank"),
        required=True,
        metavar="NAME|FILE",
        help=f"how the bank writes statements: {', '.join(BANKS)}, or a TOML file",
    )


def bank_of(mapping: str) -> Bank:
    """Return a ready mapping, or read a file.

    Raises:
        CommandError: there is none, or it is no mapping, and where it goes wrong.
    """
    if mapping in BANKS:
        return BANKS[mapping]
    file = Path(mapping)
    if not file.suffix:
        raise CommandError(f"There is no mapping {mapping!r}; there are {', '.join(BANKS)}, and files *.toml.")
    if not _NAME.fullmatch(file.stem):
        raise CommandError(f"{mapping} names its bank: 1 to 29 of A-Z a-z 0-9 _ . + - before the ending.")
    try:
        # Some editors put a byte order mark before what they save, which TOML does not know.
        return Bank(file.stem, decode(tomllib.loads(file.read_text(encoding="utf-8-sig")), StatementMapping))
    except OSError as error:
        raise CommandError(f"{mapping} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # no UTF-8, or no TOML, with its place
        raise CommandError(f"{mapping} is no TOML: {error}.") from error
    except RecursionError as error:
        raise CommandError(f"{mapping} is no mapping: it is nested too deeply.") from error
    except Invalid as refusal:
        place = refusal.errors[0].pointer.removeprefix("/").replace("/", ".")
        raise CommandError(f"{mapping} is no mapping: {f'{place}: ' if place else ''}{refusal.detail}.") from refusal


def currency_of(bank: Bank) -> tuple[str, int]:
    """Return the currency that the mapping names, and its number of decimals.

    Raises:
        CommandError: it names none, or one that is not known.
    """
    currency = bank.mapping.currency
    exponent = None if currency is None else exponent_of(currency)
    if currency is None or exponent is None:
        raise CommandError(f"The mapping {bank.name} names no currency that is known.")
    return currency, exponent
