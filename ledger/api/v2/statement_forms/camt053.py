"""An account's statement as ISO 20022 BankToCustomerStatement, camt.053.001.08.

Version 08 is what banks give and programs read today: in Germany it alone is left since November 2025, and CBPR+ names
it. The markup is written as text, because ElementTree takes more than ten times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid5
from xml.sax.saxutils import escape

from rest_framework.renderers import BaseRenderer

from config.runtime.clock import now, rfc3339
from ledger.domain.account_statements import (
    AccountStatementLineShape,
    AccountStatementShape,
    StandShape,
    TurnoverShape,
)
from ledger.domain.accounts import AccountKind
from ledger.domain.balances import Side
from ledger.domain.shapes import AccountName
from ledger.domain.states import JournalKind
from ledger.errors import Camt053Amount, Camt053Currency

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
DIGITS_MAX = 18
DECIMALS_MAX = 5
ID_LENGTH = 35
TEXT_LENGTH = 140
NAME_LENGTH = 70
NOTE_LENGTH = 500
# Controls, most of which XML cannot hold; so can it not hold the last two.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_INDICATORS = {Side.DEBIT.value: "DBIT", Side.CREDIT.value: "CRDT"}
_OTHER_ROLES = {Side.DEBIT.value: "Cdtr", Side.CREDIT.value: "Dbtr"}
_NOT_PROVIDED = "NOTPROVIDED"
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


class Camt053Form(BaseRenderer):
    """Texts are cut to the lengths of the schema; what does not fit into the reference stands in the remittance."""

    media_type = "application/xml"
    format = "xml"
    charset = "utf-8"

    def render(
        self,
        data: AccountStatementShape,
        accepted_media_type: str | None = None,  # noqa: ARG002
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return the statement's bytes.

        Raises:
            Camt053Currency: the schema has no such currency.
            Camt053Amount: an amount has too many digits.
        """
        return "".join(_document(data, made_at=rfc3339(now()))).encode()


def _document(statement: AccountStatementShape, *, made_at: str) -> Iterator[str]:
    currency = statement.currency
    _refuse_what_does_not_fit(statement)
    # The same for the same range, so that whoever gets it twice can tell.
    identifier = uuid5(statement.account.id, f"{statement.since}/{statement.until}").hex
    yield (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>{identifier}</MsgId><CreDtTm>{made_at}</CreDtTm></GrpHdr>"
        f"<Stmt><Id>{identifier}</Id><ElctrncSeqNb>{statement.closing.version}</ElctrncSeqNb>"
        f"<CreDtTm>{made_at}</CreDtTm>"
        f"<FrToDt><FrDtTm>{statement.since}</FrDtTm><ToDtTm>{statement.until}</ToDtTm></FrToDt>"
        f"<Acct>{_account(statement.account, currency)}</Acct>"
    )
    yield _balance("OPBD", statement, statement.opening, statement.since[:10])
    yield _balance("CLBD", statement, statement.closing, _last_day(statement.until))
    yield _summary(statement.debits, statement.credits)
    for line in statement.lines:
        yield _entry(line, currency)
    yield "</Stmt></BkToCstmrStmt></Document>\n"


def _refuse_what_does_not_fit(statement: AccountStatementShape) -> None:
    if not _CURRENCY.fullmatch(statement.currency) or len(statement.opening.balance.partition(".")[2]) > DECIMALS_MAX:
        raise Camt053Currency(currency=statement.currency)
    turnover = _digits(statement.debits.amount) + _digits(statement.credits.amount)
    if max(turnover, _digits(statement.opening.balance), _digits(statement.closing.balance)) >= 10**DIGITS_MAX:
        raise Camt053Amount


def _digits(amount: str) -> int:
    return abs(int(amount.replace(".", "")))


def _last_day(until: str) -> str:
    return (datetime.fromisoformat(until) - timedelta(microseconds=1)).date().isoformat()


def _balance(code: str, statement: AccountStatementShape, stand: StandShape, day: str) -> str:
    is_debit = AccountKind(statement.kind).is_debit_normal != stand.balance.startswith("-") and _digits(stand.balance)
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="{statement.currency}">{stand.balance.lstrip("-")}</Amt>'
        f"<CdtDbtInd>{'DBIT' if is_debit else 'CRDT'}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )


def _summary(debits: TurnoverShape, credits_: TurnoverShape) -> str:
    total = Decimal(debits.amount) + Decimal(credits_.amount)
    return (
        f"<TxsSummry><TtlNtries><NbOfNtries>{debits.lines + credits_.lines}</NbOfNtries><Sum>{total}</Sum></TtlNtries>"
        f"<TtlCdtNtries><NbOfNtries>{credits_.lines}</NbOfNtries><Sum>{credits_.amount}</Sum></TtlCdtNtries>"
        f"<TtlDbtNtries><NbOfNtries>{debits.lines}</NbOfNtries><Sum>{debits.amount}</Sum></TtlDbtNtries></TxsSummry>"
    )


def _entry(line: AccountStatementLineShape, currency: str) -> str:
    amount = f'<Amt Ccy="{currency}">{line.amount}</Amt><CdtDbtInd>{_INDICATORS[line.side]}</CdtDbtInd>'
    reversal = "<RvslInd>true</RvslInd>" if line.journal_kind == JournalKind.REVERSAL else ""
    end_to_end, remittance = _NOT_PROVIDED, ""
    if line.reference or line.description:
        reference, description = _clean(line.reference), _clean(line.description)
        end_to_end, remittance = escape(reference[:ID_LENGTH]) or _NOT_PROVIDED, _remittance(reference, description)
    return (
        f"<Ntry><NtryRef>{line.account_version}</NtryRef>{amount}{reversal}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{line.posted_at[:10]}</Dt></BookgDt><ValDt><Dt>{line.effective_at[:10]}</Dt></ValDt>"
        f"<AcctSvcrRef>{line.receipt_code}</AcctSvcrRef>"
        f"<BkTxCd><Prtry><Cd>{line.type}</Cd><Issr>Countinghouse</Issr></Prtry></BkTxCd>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId>"
        f"<TxId>{line.transaction_id.replace('-', '')}</TxId></Refs>{amount}"
        f"{_parties(line)}{remittance}{_others(line)}</TxDtls></NtryDtls></Ntry>"
    )


def _parties(line: AccountStatementLineShape) -> str:
    """Name who is on the other side: who was paid when the account was debited, else who paid."""
    role, first = _OTHER_ROLES[line.side], line.counterparties[0]
    return (
        f"<RltdPties><{role}><Pty><Nm>{first.path[:TEXT_LENGTH]}</Nm></Pty></{role}>"
        f"<{role}Acct>{_account(first)}</{role}Acct></RltdPties>"
    )


def _account(name: AccountName, currency: str = "") -> str:
    # 34 characters have room for the id without its hyphens.
    return (
        f"<Id><Othr><Id>{name.id.hex}</Id></Othr></Id>{currency and f'<Ccy>{currency}</Ccy>'}"
        f"<Nm>{name.path[:NAME_LENGTH]}</Nm>"
    )


def _remittance(reference: str, description: str) -> str:
    texts = [reference if len(reference) > ID_LENGTH else "", description]
    pieces = [text[at : at + TEXT_LENGTH] for text in texts for at in range(0, len(text), TEXT_LENGTH)]
    told = "".join([f"<Ustrd>{escape(piece)}</Ustrd>" for piece in pieces])
    return told and f"<RmtInf>{told}</RmtInf>"


def _others(line: AccountStatementLineShape) -> str:
    if len(line.counterparties) == 1:
        return ""
    others = ", ".join([account.path for account in line.counterparties[1:]])
    return f"<AddtlTxInf>{others[:NOTE_LENGTH]}</AddtlTxInf>"


def _clean(text: str | None) -> str:
    if not text or text.isprintable():
        return text or ""
    return _UNFIT.sub(" ", text)
