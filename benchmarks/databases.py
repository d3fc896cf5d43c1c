"""Scratch databases, made and dropped as role owner beside the one the benchmarks were started on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

PREFIX = "bench_"


def app_url(database: str) -> str:
    """Return DATABASE_URL for another database."""
    return _named(os.environ["DATABASE_URL"], database)


def owner_url(database: str = "") -> str:
    """Return MIGRATE_DATABASE_URL, for another database if one is named."""
    url = os.environ["MIGRATE_DATABASE_URL"]
    return _named(url, database) if database else url


def environment(database: str) -> dict[str, str]:
    """Return the environment of a process that works on a scratch database."""
    return {**os.environ, "DATABASE_URL": app_url(database), "MIGRATE_DATABASE_URL": owner_url(database)}


@contextmanager
def scratch_database(name: str, *, template: str | None = None) -> Iterator[str]:
    """Make a database, empty or a copy of `template` (where nobody may be connected), and drop it at the end."""
    database = f"{PREFIX}{name}"
    copied = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
    with _maintenance() as owner:
        _drop(owner, database)
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)) + copied)
    try:
        yield database
    finally:
        with _maintenance() as owner:
            _drop(owner, database)


@contextmanager
def as_owner(database: str) -> Iterator[psycopg.Connection]:
    """Connect as role owner, in autocommit."""
    with psycopg.connect(owner_url(database), autocommit=True) as connection:
        yield connection


def migrated_database() -> str:
    """Return the name of the database the benchmarks were started on: the template of the scratch ones."""
    return urlsplit(os.environ["DATABASE_URL"]).path.lstrip("/")


def _maintenance() -> psycopg.Connection:
    return psycopg.connect(owner_url("postgres"), autocommit=True)


def _drop(owner: psycopg.Connection, database: str) -> None:
    """Drop a database, whoever is still there.

    Without FORCE the server sends its autovacuum away and waits for those who leave; with it, it asks us for the right
    to end a process of its own.
    """
    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database))
    try:
        owner.execute(statement)
    except psycopg.errors.ObjectInUse:
        owner.execute(statement + sql.SQL(" WITH (FORCE)"))


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
