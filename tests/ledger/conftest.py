"""What many tests of the ledger stand on: alice and bob, the demo's books made once, a broker that is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.broker import JobsBroker
from config.localstack.ports import free_port
from ledger import actors
from ledger.clients import authentication
from tests.ledger.backoffice import Staff
from tests.people import Tenant
from tests.scratch import manage, scratch_database


@pytest.fixture
def remembered_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was looked up is not looked up again, however long the test takes."""
    monkeypatch.setattr(authentication, "_REMEMBERED_S", 600.0)
    monkeypatch.setattr(authentication, "_RENEWED_AFTER_S", 600.0)
    authentication.forget_keys()  # those of which another test knows for a second


@pytest.fixture
def people(bank: Tenant) -> Tenant:
    """A bank where alice holds 10.00 and bob nothing."""
    bank.person("alice", holding="10.00")
    bank.person("bob")
    return bank


@pytest.fixture
def shop(bank: Tenant) -> Tenant:
    """A bank where alice has 100.00 USD; bob has EUR and JPY; fees and liquidity have their accounts."""
    bank.person("alice", holding="100.00")
    bank.person("bob")
    for currency in ("EUR", "JPY"):
        bank.open(f"users:bob:{currency}", currency=currency, user_id="bob")
    for currency in ("USD", "EUR", "JPY"):
        bank.open(f"fees:{currency}", kind="income", currency=currency)
        bank.open(f"liquidity:{currency}", kind="asset", currency=currency)
    bank.open("tax:USD")
    return bank


@pytest.fixture
def staff(db) -> Staff:
    """Who may do everything."""
    return Staff(superuser=True)


@pytest.fixture
def viewer(db) -> Staff:
    """Who may see everything and do nothing."""
    seen = ("account", "transaction", "batch", "journal", "client", "apikey", "auditentry", "deadletter")
    return Staff(*(f"view_{name}" for name in seen))


@dataclass(frozen=True)
class Demo:
    """The database, the file that make_demo wrote there, and what it printed."""

    database: str
    output: Path
    printed: str


@pytest.fixture(scope="session")
def demo(django_db_setup, tmp_path_factory) -> Iterator[Demo]:
    """Migrate a new database and make the demo in it, as processes of their own, like `up`."""
    output = tmp_path_factory.mktemp("demo") / "new" / "demo.json"
    with scratch_database() as database:
        assert manage("migrate", "-v0", database=database).returncode == 0
        made = manage("make_demo", "--base-url", "http://127.0.0.1:8000/", "--output", output, database=database)
        assert (made.returncode, made.stderr) == (0, "")
        yield Demo(database, output, made.stdout)


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Posters are woken through a broker where nobody listens."""
    away = JobsBroker(f"redis://127.0.0.1:{free_port(0)}")
    for actor in (actors.post_accepted, actors.post_batches):
        monkeypatch.setattr(actor, "broker", away)
