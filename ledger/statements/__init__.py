"""Statement files of banks. A new bank is a file here and a line in BANKS."""

from __future__ import annotations

from ledger.statements import pkdd99
from ledger.statements.base import Bank, MalformedLine, StatementLine

BANKS: dict[str, Bank] = {bank.name: bank for bank in (pkdd99.BANK,)}

__all__ = ["BANKS", "Bank", "MalformedLine", "StatementLine"]
