"""API5:2023, function level: no page of the back office does or shows anything to who may not.

Scope, role and token by every operation of the API stand in test_scopes.py, the permission of each action of staff in
the tests of its page.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.ledger.backoffice import Staff
from tests.ledger.owasp.world import send
from tests.ledger.routes import places

# What all of staff may do: come, go, change the own password, and see that there is nothing to see.
FOR_ALL_OF_STAFF = {
    "/admin/",
    "/admin/jsi18n/",
    "/admin/login/",
    "/admin/logout/",
    "/admin/password_change/",
    "/admin/password_change/done/",
}
PAGES = sorted(
    {re.sub("<[^>]+>", "1", place) for place, _ in places() if place.startswith("/admin/")} - FOR_ALL_OF_STAFF
)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_staff_without_permissions_is_let_into_no_page(db, method: str) -> None:
    session = f"sessionid={Staff().http.cookies['sessionid'].value}"
    assert len(PAGES) >= 60

    let_in = {page for page in PAGES if is_let_in(page, send(method, page, Cookie=session))}

    assert let_in == set()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_is_nobody_is_sent_to_the_login_by_every_page(db, method: str) -> None:
    for page in PAGES:
        answer = send(method, page)
        assert answer.status_code in {302, 403}, page
        assert answer.status_code == 403 or answer["Location"].startswith("/admin/login/?next="), page


def is_let_in(page: str, answer: Any) -> bool:
    """Of what is not there the admin leads back to its beginning, and from an old address to the new one."""
    is_led_away = answer.status_code == 302 and answer["Location"] in {"/admin/", f"{page}change/"}
    return answer.status_code not in {403, 404, 405} and not is_led_away
