"""The pages as people see them: rendered by a real browser, with nothing refused and nothing from another host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from tests.acceptance.browser import Browser, program
from tests.acceptance.server import Server
from tests.ledger.test_holds import held
from tests.people import Tenant


@pytest.fixture(scope="module")
def server(django_db_setup) -> Iterator[Server]:
    program()
    with Server() as running:
        yield running


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00 and bob nothing."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    return bank


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as running:
        yield running


def assert_at_home(browser: Browser, server: Server) -> None:
    """Nothing came from another host, and the console is empty: no refusal by the policy, no error of a script."""
    assert browser.asked
    assert [url for url in browser.asked if not url.startswith((f"{server.base_url}/", "data:", "blob:"))] == []
    assert browser.said == []


def log_in(browser: Browser, url: str) -> None:
    """Open a page of the back office as new staff who may do everything."""
    name, password = f"staff-{uuid4()}", uuid4().hex
    User.objects.create_superuser(name, password=password)
    browser.open(url)
    assert "Password" in browser.wait_for("Countinghouse")
    for field, value in (("username", name), ("password", password)):
        browser.run(f"document.getElementById('id_{field}').value = {json.dumps(value)}")
    browser.run("document.querySelector('#login-form [type=submit]').click()")


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_shows_the_operations(server: Server, browser: Browser, page: str) -> None:
    browser.open(server.base_url + page)

    assert "Countinghouse" in browser.wait_for("Move money")
    assert f"{server.base_url}/v2/schema" in browser.asked
    assert_at_home(browser, server)


def test_an_operation_is_shown_with_what_was_asked_and_answered(server: Server, browser: Browser) -> None:
    browser.open(f"{server.base_url}/v2/docs")
    browser.wait_for("Move money")
    browser.run("document.querySelector('#operations-transactions-create_transaction button').click()")

    shown = browser.wait_for("RCP-2026", within="#operations-transactions-create_transaction")
    assert "Two tickets" in shown
    assert "insufficient_funds" in shown
    assert_at_home(browser, server)


def test_staff_logs_in_and_sees_the_transactions(bank: Tenant, server: Server, browser: Browser) -> None:
    alice = bank.person("alice")
    moved = bank.move("cash:USD", alice.path, "12.34", type="cash_in").transaction

    log_in(browser, f"{server.base_url}/admin/ledger/transaction/?client={bank.client.name.replace(' ', '%20')}")

    listed = browser.wait_for(moved.receipt_code, within="#result_list")
    assert "12.34 USD" in listed
    assert_at_home(browser, server)
    # The styles came through, too: a badge is no plain text.
    assert browser.run("getComputedStyle(document.querySelector('#result_list .badge')).borderRadius") != "0px"


def test_staff_presses_a_button_says_why_and_sees_what_became_of_it(
    people: Tenant, server: Server, browser: Browser
) -> None:
    hold = held(people, "6.00")

    log_in(browser, f"{server.base_url}/admin/ledger/transaction/{hold}/change/")
    browser.wait_for("CAPTURE…", within=".object-tools")
    browser.run("document.querySelector('.object-tools [value=capture]').form.querySelector('button').click()")
    assert "6.00 USD" in browser.wait_for("users:bob:USD", within=".asked")
    browser.run("document.getElementById('id_reason').value = 'the guest has left'")
    browser.run("document.querySelector('.submit-row [type=submit]').click()")

    assert "the guest has left" in browser.wait_for("completed", within="#history")
    assert "Captured: 1." in browser.wait_for("Captured", within=".messagelist")
    assert_at_home(browser, server)
