"""The test database, and the people: alice owns, bob is a colleague, mallory is a stranger.

Commits are real and nothing is rolled back or flushed: the books are append-only, and every test takes a client of its
own, so that tests do not see one another.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import client as test_client
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from psycopg import sql

from config.api.handler import ShortCut
from ledger.clients import usage, uses
from tests.apart import DATABASE
from tests.people import Tenant


class _Handler(ShortCut, test_client.ClientHandler):
    """What Django's test client calls: its requests go the way of all requests."""


test_client.ClientHandler = _Handler  # type: ignore[misc]  # for every client that is made
# Nobody guesses the passwords of tests, which are hashed for every person of staff; servers of theirs can read them.
PBKDF2PasswordHasher.iterations = 1
# All tests ask from one address; where the limit is the question a test sets it.
settings.STRANGERS_PER_MINUTE = 1_000_000
# Else each of those clients looks through all static files before its first request, for 25 ms of CPU.
settings.WHITENOISE_AUTOREFRESH = True
# How long an example takes says how busy the machine is.
hypothesis.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("untimed")


def owner_connection(database: str = "postgres") -> psycopg.Connection:
    """Connect as role owner, in autocommit."""
    owner = connections["owner"].settings_dict
    return psycopg.connect(
        host=owner["HOST"],
        port=owner["PORT"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        dbname=database,
        autocommit=True,
    )


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker) -> Iterator[None]:
    """Make the test database anew, as its owner."""
    with django_db_blocker.unblock():
        with owner_connection() as owner:
            owner.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        call_command("migrate", verbosity=0)
    yield
    with django_db_blocker.unblock():
        connections.close_all()
        default = connections["default"]
        assert isinstance(default, DatabaseWrapper)
        default.close_pool()


@pytest.fixture
def db(django_db_setup, django_db_blocker) -> Iterator[None]:
    """Let a test use the database; what it commits stays."""
    with django_db_blocker.unblock():
        yield
        connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def _uses_are_kept_when_asked_for() -> Iterator[None]:
    """No thread writes to the database at a time of its own, when a test may not."""
    with pytest.MonkeyPatch.context() as patch:
        for one in (uses, usage):
            patch.setattr(one, "_wake", lambda: None)
        yield


@pytest.fixture
def bank(db) -> Tenant:
    """A client of this test's own, with a key that may do everything, and a cash account without limits."""
    return Tenant.new()


@pytest.fixture
def other_bank(db) -> Tenant:
    """Another client: what belongs to `bank` must not exist for it."""
    return Tenant.new()
