"""What each process of a test run has to itself: a database on PostgreSQL, and one on Redis where there are several.

pytest loads this plugin before all others (`-p` in pyproject.toml), thus before Django reads the environment; whatever
the tests start inherits it.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

POSTGRES_URLS = ("DATABASE_URL", "MIGRATE_DATABASE_URL", "READONLY_DATABASE_URL", "DIRECT_DATABASE_URL")
REDIS_URLS = ("REDIS_URL", "DRAMATIQ_BROKER_URL")
# gw0, gw1, … where `-n` has several processes run the tests.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# Two test runs beside one another on one server need two names.
DATABASE = "_".join(filter(None, (os.environ.get("TEST_DATABASE", "test_countinghouse"), WORKER)))


def urls_of(database: str) -> dict[str, str]:
    """Return those variables that lead to PostgreSQL, leading to this database."""
    parts = {name: urlsplit(os.environ[name]) for name in POSTGRES_URLS if os.environ.get(name)}
    return {name: f"{url.scheme}://{url.netloc}/{database}?{url.query}".rstrip("?") for name, url in parts.items()}


os.environ.update(urls_of(DATABASE))
if WORKER:
    for name in REDIS_URLS:
        if url := os.environ.get(name):
            os.environ[name] = f"{url}{'&' if '?' in url else '?'}db={int(WORKER.removeprefix('gw')) + 1}"
