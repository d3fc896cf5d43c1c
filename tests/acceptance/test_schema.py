"""The live service keeps what its schema says, whatever is sent: valid, odd and wrong requests of every operation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from config.runtime.clock import now
from ledger.clients.services import create_key
from ledger.events.models import DeadLetter
from ledger.models import Transaction
from ledger.services.posting import post_due
from tests.acceptance.server import Server
from tests.ledger.letters import recorded
from tests.people import Tenant

EXAMPLES_PER_OPERATION = 4
# What only the service can check: a signature, a state, and the grammar of RFC 7240. And what answers with an object
# that nobody can look at afterwards.
NOT_MADE_UP = {"cursor", "after", "If-Match", "Prefer", "dry_run"}
ENDING_KEYS = r"/v2/keys/.*/(rotate|revoke)$"
# A schema cannot say which currencies and accounts there are: 422 is for what is well-formed and still impossible.
CONFIGURATION = """
[generation]
database = "none"
allow-x00 = false
deterministic = true

[checks]
positive_data_acceptance.expected-statuses = [200, 201, 202, 207, 404, 409, 422]

# In a partial batch a malformed item is refused alone, and the batch is answered with 207.
[[operations]]
include-path = "/v2/transactions/batch"
checks.negative_data_rejection.expected-statuses = [207, 400, 401, 403, 404, 409, 413, 415, 422, 428, 503]
"""


@pytest.mark.timeout(240)
def test_every_operation_answers_as_its_schema_says(bank: Tenant, tmp_path: Path) -> None:
    alice, bob, dora = bank.person("alice", holding="50.00"), bank.person("bob"), bank.person("dora", holding="1.00")
    moved = bank.move(alice.path, bob.path, "1.00").transaction
    transfer = {"type": "transfer", "debit_account": alice.path, "credit_account": bob.path, "currency": "USD"}
    bank.person("erin")
    batch = bank.post("/v2/transactions/batch", {"items": [transfer | {"amount": "1.00"}]}).json()["id"]
    line = "id,date,reference,description,counterparty,amount,balance\nb1,2026-03-01,,,,1.00,1.00\n"
    statement = {"account": alice.path, "mapping": "iso_signed", "content": line}
    spare, _ = create_key(client=bank.client, scopes=["accounts:read"], actor="test")
    examples = {
        "/v2/accounts": {"path": "users:carol:USD", "kind": "liability", "currency": "USD"},
        "/v2/accounts/{id}": str(dora.id),
        "/v2/transactions/{id}": str(moved.id),
        "/v2/batches/{id}": batch,
        "/v2/reconciliations/{id}": bank.post("/v2/reconciliations", statement).json()["id"],
        "/v2/receipts/{code}": moved.receipt_code,
        "/v2/dead-letters/{id}": str(recorded(bank).pk),
        "/v2/dead-letters/replay": {"filter": {"client": bank.client.name, "error_code": "account_unknown"}},
        "/v2/keys/{id}": spare.pk,
    }
    # An operator would replay those of all other tests, again and again.
    DeadLetter.objects.exclude(client=bank.client).filter(status="open").update(status="discarded", resolved_at=now())
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with Server(METRICS_ALLOW="") as server:  # no address is let in without a key
        (tmp_path / "schema.json").write_text(json.dumps(schema_of(server, examples)))
        # Whoever lists keys and ends them ends the own one: those two are asked by themselves, with another's id.
        chosen = (("--exclude-path-regex", ENDING_KEYS), ("--include-path-regex", ENDING_KEYS))
        asked = [ask(server, bank, tmp_path, *options) for options in chosen]

    for one in asked:
        assert one.returncode == 0, one.stdout + one.stderr
    while post_due(0):
        pass
    # Not only noise was sent: a transaction and a batch were. What became of them is open: accounts were frozen, too.
    assert Transaction.objects.filter(client=bank.client, type="transfer").count() >= 4


def ask(server: Server, bank: Tenant, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Have schemathesis ask the server what the schema in a folder says."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", "schema.json", "--url", server.base_url),
            *("--header", f"Authorization: Bearer {bank.key}", "--checks", "all", "--no-color"),
            *("--max-examples", str(EXAMPLES_PER_OPERATION), *options),
        ],
        cwd=folder,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )


def schema_of(server: Server, examples: dict[str, Any]) -> dict[str, Any]:
    """Return the document that the server gives out, without the parameters that nobody can make up.

    `examples` are ids by an address that begins with `…/{name}`, and bodies by that of a POST, instead of its own.
    """
    with urllib.request.urlopen(f"{server.base_url}/v2/schema", timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            parameters = [one for one in operation.get("parameters", []) if one["name"] not in NOT_MADE_UP]
            for parameter in parameters:
                if parameter["in"] == "path":
                    parameter["example"] = examples[path[: path.index("}") + 1]]
            operation["parameters"] = parameters
            if "requestBody" in operation and path in examples:
                operation["requestBody"]["content"]["application/json"]["example"] = examples[path]
    return document
