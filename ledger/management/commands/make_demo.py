"""`manage.py make_demo`: people with money, a key and an admin user to try the service with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.clock import now
from ledger.clients.models import Client, Tier
from ledger.clients.services import find_or_create_client
from ledger.management.demo.access import ADMIN, admin_password, api_key, read_file, write_file
from ledger.management.demo.books import ACTOR, CLOSING_KEY, account_of, make_books
from ledger.management.reporting import plainly
from ledger.models import Transaction

CLIENT = "demo"


class Command(BaseCommand):
    help = (
        "Makes a client with accounts and transactions, a key and an admin user, writes them to a private file and "
        "prints where to look. Run again it keeps all of it; a lost file is written anew, with a new key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base-url", required=True, help="where the service answers, http://127.0.0.1:8000")
        parser.add_argument("--output", required=True, type=Path, help="the file to write, mode 600")

    def handle(self, *args: Any, base_url: str, output: Path, **options: Any) -> None:
        base_url = base_url.rstrip("/")
        if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).netloc:
            raise CommandError(f"--base-url {base_url!r} is no http or https URL.")
        with plainly():
            client = find_or_create_client(name=CLIENT, tier=Tier.INTERNAL, actor=ACTOR)
            make_books(client, now=now())
            try:
                answer = _answer(client, base_url, read_file(output))
                write_file(output, answer)
            except OSError as error:
                raise CommandError(f"{output} cannot be written: {error.strerror or error}.") from error
        self._write_welcome(client, answer, output)

    def _write_welcome(self, client: Client, answer: dict[str, Any], output: Path) -> None:
        base_url, alice = answer["base_url"], answer["accounts"]["alice"]
        closing = Transaction.objects.get(client=client, idempotency_key=CLOSING_KEY)
        as_client = f"curl -sS -H {shlex.quote('Authorization: Bearer ' + answer['api_key'])}"
        transfer = {
            "type": "transfer",
            "debit_account": "users:alice:USD",
            "credit_account": "users:bob:USD",
            "amount": "10.00",
            "currency": "USD",
        }
        self.stdout.write(f"API      {base_url}/docs")
        self.stdout.write(f"admin    {base_url}/admin/ (user {ADMIN}, password in {output})")
        self.stdout.write(f"health   {base_url}/readyz, {base_url}/v2/health")
        self.stdout.write(f"key      {answer['api_key']}")
        self.stdout.write("\nWhat alice holds; ten dollars to bob, once however often it is sent; a receipt:\n")
        self.stdout.write(f"{as_client} {base_url}/v2/accounts/{alice}/balance")
        self.stdout.write(
            f"{as_client} -H 'Idempotency-Key: first-transfer' -H 'Prefer: wait=5' -H 'Content-Type: application/json'"
            f" -d {shlex.quote(json.dumps(transfer))} {base_url}/v2/transactions"
        )
        self.stdout.write(f"{as_client} {base_url}/v2/receipts/{closing.receipt_code}\n")


def _answer(client: Client, base_url: str, known: dict[str, str]) -> dict[str, Any]:
    """Return the file's content; what `known` says of key and password is kept while it is true."""
    return {
        "base_url": base_url,
        "api_key": api_key(client, known.get("api_key", ""), now=now()),
        "accounts": {name: str(account_of(client, name).public_id) for name in ("alice", "bob")},
        "admin_user": ADMIN,
        "admin_password": admin_password(known.get("admin_password", "")),
        "database_url": settings.ENV.database_url,
        "redis_url": settings.REDIS_URL,
    }
