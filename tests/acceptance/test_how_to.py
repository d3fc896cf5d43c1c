"""The commands of the how-tos, as they stand on their pages, against a live server."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.documented import ROOT, run_page
from tests.acceptance.server import Server
from tests.people import Tenant

HOW_TO = ROOT / "docs" / "how-to"


def test_an_account_s_statement_is_given_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    with Server() as server:
        printed = run_page(HOW_TO / "account-statements.md", bank=bank, server=server, folder=tmp_path)

    assert "{'balance': '12.50', 'version': 2} from 2026-01-01T00:00:00.000000Z" in printed
    assert "slip 8,'=SUM(A1:A9) is only a text,cash:till-2:EUR,debit,7.50,12.50" in printed
    assert '<Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">12.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>' in printed
