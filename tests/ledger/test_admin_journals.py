"""The back office's pages of journals."""

from __future__ import annotations

import re

from ledger.models import Journal
from tests.ledger.backoffice import Staff, row_of
from tests.people import Tenant


def test_a_journal_s_page_shows_its_lines(bank: Tenant, viewer: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)

    page = viewer.page("ledger_journal_change", journal.pk)

    assert f"/admin/ledger/transaction/{row.pk}/change/" in page
    assert page.count('<table class="lines">') == 1
    assert page.count('<td class="number">1.00</td>') == 2


def test_a_journal_is_found_by_id_and_by_receipt(bank: Tenant, staff: Staff) -> None:
    row = row_of(bank)
    journal = Journal.objects.get(transaction=row)

    for term in (str(journal.pk), row.receipt_code):
        page = staff.page("ledger_journal_changelist", q=term)
        assert re.findall(r"/admin/ledger/journal/([0-9a-f-]{36})/change/", page) == [str(journal.pk)]
