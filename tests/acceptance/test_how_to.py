"""The commands of the how-tos, as they stand on their pages, against a live server."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.events.models import DeadLetter
from tests.acceptance.documented import ROOT, run_page
from tests.acceptance.server import Server
from tests.ledger.consumed import asked, message
from tests.ledger.letters import recorded
from tests.people import Tenant

HOW_TO = ROOT / "docs" / "how-to"


def test_an_account_s_statement_is_given_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    with Server() as server:
        printed = run_page(HOW_TO / "account-statements.md", bank=bank, server=server, folder=tmp_path)

    assert "{'balance': '12.50', 'version': 2} from 2026-01-01T00:00:00.000000Z" in printed
    assert "slip 8,'=SUM(A1:A9) is only a text,cash:till-2:EUR,debit,7.50,12.50" in printed
    assert '<Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">12.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>' in printed


def test_a_statement_is_reconciled_as_the_page_says(bank: Tenant) -> None:
    names = {"--client demo": f"--client '{bank.client.name}'"}

    with Server() as server:
        printed = run_page(HOW_TO / "reconcile-a-statement.md", bank=bank, server=server, replaced=names)

    for number in (1, 2, 3):
        assert f'"reference":"INV-{number}"' in printed
    assert '"matched":{"lines":1,"entries":1},"amount_differs":{"lines":1,"entries":1}' in printed
    assert '"missing_in_books":{"lines":1,"entries":0},"missing_at_bank":{"lines":0,"entries":1}' in printed
    told = [line.split(" | ")[0] for line in printed.splitlines() if line.startswith("banks:main:EUR: ")]
    assert told == [f"banks:main:EUR: {kind}" for kind in ("amount_differs", "missing_in_books", "missing_at_bank")]


def test_dead_letters_are_looked_at_replayed_and_discarded_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    bank.person("alice", holding="10.00")
    bob = bank.person("bob")  # who was unknown when the messages came
    inbound = {"consumer": "inbound:transactions.inbound"}
    for key in ("a", "b"):
        recorded(bank, **inbound, key=key, body=message(asked("1.00")).value, headers={})
    malformed = recorded(bank, **inbound, error_code="malformed_message", body=b"\xff", key="")
    too_large = recorded(bank, consumer="transport:kafka", error_code="message_too_large", key="")
    own = str(bank.client.public_id)
    names = {
        "--client demo": f"--client '{bank.client.name}'",
        "client=demo": f"client={own}",
        '"client": "demo"': f'"client": "{own}"',
    }

    with Server(INBOUND_TOPICS=f"transactions.inbound?client={bank.client.public_id}") as server:
        printed = run_page(HOW_TO / "dead-letters.md", bank=bank, server=server, replaced=names, folder=tmp_path)

    assert '"body":"{\\"specversion\\": \\"1.0\\"' in printed
    assert '"reason":"the account has been opened"' in printed
    assert (
        '"dry_run":true,"found":[{"consumer":"inbound:transactions.inbound","error_code":"account_unknown","count":1'
        in (printed)
    )
    assert '"replayed":1,"refused":{},"not_reached":0,"has_more":false' in printed
    assert bank.posted(bob) == 200
    reasons = [DeadLetter.objects.get(pk=row.pk).reason for row in (malformed, too_large)]
    assert reasons == ["the sender has sent it again", "sent in parts"]


def test_legs_fees_and_exchanges_are_booked_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    with Server() as server:
        printed = run_page(HOW_TO / "split-exchange-charge.md", bank=bank, server=server, folder=tmp_path)

    assert '"problem' not in printed
    assert '"fee":"0.15"' in printed
    assert '"credit_amount":"1712","credit_currency":"JPY","rate":"171.235"' in printed
    assert '"rounding":"-0.35"' in printed
    assert '"type":"reversal","status":"completed","amount":"5.00"' in printed
    assert "-".join(bank.account(f"users:{name}").balance.posted for name in ("dora:EUR", "emil:EUR")) == "80.00-8.40"


def test_keys_and_tokens_are_given_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    names = {"create_key demo": f"create_key '{bank.client.name}'"}

    with Server() as server:
        printed = run_page(HOW_TO / "keys-and-tokens.md", bank=bank, server=server, replaced=names, folder=tmp_path)

    assert re.search(r"ch_\w{8}_\w{32}$", printed, flags=re.MULTILINE)
    assert printed.count('"label":"reports"') == 5
    assert '"status":"revoked"' in printed
    assert '"path":"users:erin:EUR"' in printed
    assert printed.endswith('{"data":[],"next_cursor":null,"prev_cursor":null}')
