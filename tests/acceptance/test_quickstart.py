"""The quickstart's commands, as they stand on the page, against a live server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.acceptance.documented import ROOT, run_page
from tests.acceptance.server import Server
from tests.people import Tenant

# It verifies whatever all tests have booked by then.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def server(db) -> Iterator[Server]:
    with Server() as running:
        yield running


def test_every_block_of_the_quickstart_works_as_it_stands(bank: Tenant, server: Server) -> None:
    name = f"Shop {bank.client.pk}"
    names = {'"My shop"': f'"{name}"', '"Czech bank"': f'"{name}"'}

    printed = run_page(ROOT / "docs" / "quickstart.md", bank=bank, server=server, replaced=names)

    assert printed.count('"path":"users:carol:EUR"') >= 2
    assert '"status":"completed"' in printed
    assert '"code":"insufficient_funds"' in printed
    assert '"captured":"3.00"' in printed
    assert '"type":"reversal"' in printed
    assert '"frozen":"debits"' in printed
    assert '"floor":"-10.00","ceiling":"1000.00"' in printed
    assert '"code":"account_not_empty"' in printed
    assert '"changes":{"frozen":{"before":"debits","after":"none"}},' in printed
    assert printed.count('"balanced":true') == 4  # dollars and euros, now and before the first booking
    assert re.search(r"^ch_[0-9A-Z]{8}_[0-9A-Z]{32}$", printed, flags=re.MULTILINE)
