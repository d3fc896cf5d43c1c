"""The demo that `up` makes: what scripts may rely on, and that it stays as people left it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from ledger.clients.scopes import SCOPES
from tests.commands import run
from tests.conftest import owner_connection
from tests.ledger.conftest import Demo
from tests.scratch import ROOT, environment, pointed_at, scratch_database


@pytest.fixture
def database(db, demo: Demo) -> Iterator[str]:
    """A copy of the demo's database, as the one that commands of this process see."""
    with scratch_database(template=demo.database) as name, pointed_at(name):
        yield name


@pytest.fixture
def output(demo: Demo, tmp_path: Path) -> Path:
    """A copy of the file that was written."""
    return Path(shutil.copy(demo.output, tmp_path))


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def make(output: Path, base_url: str = "http://127.0.0.1:8000") -> str:
    """Run the command once more and return what it printed."""
    ran = run("make_demo", "--base-url", base_url, "--output", output)
    assert (ran.code, ran.error) == (0, "")
    return ran.out


def rows(database: str, query: str) -> list[tuple[Any, ...]]:
    with owner_connection(database) as owner:
        return owner.execute(query).fetchall()


def test_the_file_says_what_scripts_rely_on(demo):
    database, output = demo.database, demo.output

    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert list(output.parent.iterdir()) == [output]
    answer = json.loads(output.read_text())
    assert answer.keys() == {
        *("base_url", "api_key", "accounts", "admin_user", "admin_password", "database_url", "redis_url"),
    }
    assert answer["base_url"] == "http://127.0.0.1:8000"
    assert answer["database_url"] == environment(database)["DATABASE_URL"]
    assert answer["redis_url"] == os.environ["REDIS_URL"]
    with psycopg.connect(answer["database_url"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)
    assert rows(database, "SELECT name, tier FROM clients_client") == [("demo", "internal")]
    assert rows(database, "SELECT 'ch_' || key_id, scopes FROM clients_apikey") == [
        (answer["api_key"].rpartition("_")[0], sorted(SCOPES))
    ]
    accounts = rows(
        database,
        """
        SELECT a.user_id, a.public_id::text, a.currency_id, a.kind, b.floor, b.posted_credits - b.posted_debits
        FROM ledger_account a JOIN ledger_balance b ON b.account_id = a.id
        WHERE a.user_id IN ('alice', 'bob') ORDER BY a.user_id
        """,
    )
    assert accounts[0] == ("alice", answer["accounts"]["alice"], "USD", "liability", 0, 1_000_000_00)
    assert accounts[1][:5] == ("bob", answer["accounts"]["bob"], "USD", "liability", 0)
    for shown in ("/docs", "/admin/", "/readyz", answer["api_key"]):
        assert shown in demo.printed
    assert answer["admin_password"] not in demo.printed


def test_there_is_something_to_look_at(demo):
    database = demo.database

    counts = dict(rows(database, "SELECT type, count(*) FROM ledger_transaction WHERE status = 'completed' GROUP BY 1"))
    assert counts.keys() == {
        *("transfer", "cash_in", "cash_out", "card", "fee", "interest", "bank_transfer_in", "bank_transfer_out"),
    }
    assert sum(counts.values()) > 300
    failures = rows(database, "SELECT DISTINCT error_code FROM ledger_transaction WHERE status = 'failed' ORDER BY 1")
    assert failures == [("account_frozen",), ("insufficient_funds",)]
    assert rows(database, "SELECT count(*) FROM ledger_account WHERE user_id IS NOT NULL") == [(27,)]


def test_made_again_it_keeps_data_key_password_and_file(database, output):
    key = json.loads(output.read_text())["api_key"]
    transactions = rows(database, "SELECT count(*), max(id::text) FROM ledger_transaction")
    make(output)
    before = output.read_bytes()

    make(output)

    assert output.read_bytes() == before
    assert json.loads(before)["api_key"] == key
    assert rows(database, "SELECT count(*), max(id::text) FROM ledger_transaction") == transactions
    assert rows(database, "SELECT count(*) FROM clients_apikey WHERE revoked_at IS NULL") == [(1,)]
    assert rows(database, "SELECT username, is_superuser, is_staff FROM auth_user") == [("demo", True, True)]


def test_a_moved_service_keeps_its_key_and_password(database, output):
    before = json.loads(output.read_text())

    make(output, "http://127.0.0.1:9000")

    moved = {"base_url": "http://127.0.0.1:9000", "database_url": settings.ENV.database_url}
    assert json.loads(output.read_text()) == before | moved


@pytest.mark.parametrize(
    "content", [None, "[]", '{"api_key": 1, "admin_password": ""}', '{"api_key": "ch_0_0"}', "\xff"]
)
def test_a_lost_file_gets_a_new_key_and_password_and_the_old_key_ends(database, output, content):
    old = json.loads(output.read_text())
    output.unlink() if content is None else output.write_text(content, encoding="latin-1")

    make(output)

    new = json.loads(output.read_text())
    assert new["api_key"] != old["api_key"]
    assert new["admin_password"] != old["admin_password"]
    assert new["accounts"] == old["accounts"]
    valid = rows(database, "SELECT 'ch_' || key_id FROM clients_apikey WHERE revoked_at IS NULL")
    assert valid == [(new["api_key"].rpartition("_")[0],)]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_wrong_arguments_are_plain_errors(database, tmp_path):
    wrong = run("make_demo", "--base-url", "localhost:8000", "--output", tmp_path / "demo.json")
    assert (wrong.code, wrong.error) == (1, "--base-url 'localhost:8000' is no http or https URL.")

    (tmp_path / "file").touch()
    wrong = run("make_demo", "--base-url", "http://127.0.0.1:1", "--output", tmp_path / "file" / "demo.json")
    assert (wrong.code, wrong.error) == (1, f"{tmp_path / 'file' / 'demo.json'} cannot be written: Not a directory.")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_three_lines_work_exactly_as_printed(database, output, port):
    printed = make(output, f"http://127.0.0.1:{port}")
    balance, transfer, receipt = [line for line in printed.splitlines() if line.startswith("curl ")]

    with serving(database, port):
        before = shell(balance)
        first, second = shell(transfer), shell(transfer)
        after = shell(balance)
        shown = shell(receipt)

    assert before["posted"] == "1000000.00"
    assert (first["status"], first["amount"], first["id"]) == ("completed", "10.00", second["id"])
    assert after["posted"] == "999990.00"
    assert (shown["status"], shown["version"]) == ("completed", 1)


def shell(line: str) -> Any:
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(ran.stdout)


@contextmanager
def serving(database: str, port: int) -> Iterator[None]:
    """Serve as `up` does, as long as the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "config.web", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env=environment(database),
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not is_ready(port):
            assert process.poll() is None
            assert time.monotonic() < deadline, "the server is not ready in time"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
