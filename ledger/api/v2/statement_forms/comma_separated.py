"""An account's statement as CSV (RFC 4180), in UTF-8: a row for each line, between one for each balance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer

from ledger.domain.account_statements import AccountStatementLineShape, AccountStatementShape, StandShape

COLUMNS = (
    "record,account,currency,posted_at,effective_at,account_version,journal_id,line,journal_kind,transaction_id,"
    "receipt_code,type,reference,description,counterparties,side,amount,balance_after"
)
_TO_QUOTE = re.compile(r'[",\r\n]')
# A spreadsheet takes a text that begins so for a formula, the wide forms too (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CsvForm(BaseRenderer):
    """Texts that a spreadsheet would run as formulas have an apostrophe before them; amounts are as they are.

    Only texts can need quotes: csv.writer, which looks at every character of every column, takes twice as long.
    """

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self,
        data: AccountStatementShape,
        accepted_media_type: str | None = None,  # noqa: ARG002
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return the statement's bytes."""
        account = f"{_text(data.account.path)},{data.currency}"
        return "".join(
            (
                f"{COLUMNS}\r\n",
                _balance(f"opening,{account},{data.since}", data.opening),
                *[_line(f"line,{account}", line) for line in data.lines],
                _balance(f"closing,{account},{data.until}", data.closing),
            )
        ).encode()


def _balance(head: str, stand: StandShape) -> str:
    return f"{head},,{stand.version},,,,,,,,,,,,{stand.balance}\r\n"


def _line(head: str, line: AccountStatementLineShape) -> str:
    return (
        f"{head},{line.posted_at},{line.effective_at},{line.account_version},{line.journal_id},{line.line},"
        f"{line.journal_kind},{line.transaction_id},{line.receipt_code},{line.type},{_text(line.reference)},"
        f"{_text(line.description)},{_text(' '.join([account.path for account in line.counterparties]))},{line.side},"
        f"{line.amount},{line.balance_after}\r\n"
    )


def _text(value: str | None) -> str:
    if not value:
        return ""
    if value.startswith(_FORMULA_STARTS):
        value = f"'{value}"
    if not _TO_QUOTE.search(value):
        return value
    doubled = value.replace('"', '""')
    return f'"{doubled}"'
