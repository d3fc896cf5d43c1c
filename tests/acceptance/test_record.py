"""The record is kept by the relay, and a proof is checked with nothing of ours."""

from __future__ import annotations

from pathlib import Path

from config.localstack.processes import wait_until
from tests.acceptance.documented import ROOT, run_page
from tests.acceptance.server import Relay, Server, running
from tests.ledger.sealed import leaves_of, rows, sealed
from tests.people import Tenant

END_WITHIN_S = 5


def test_the_relay_seals_what_is_booked_and_says_the_head(bank: Tenant, tmp_path: Path) -> None:
    sealed()
    with Relay(tmp_path / "relay.log") as relay:
        done = bank.person("alice", "10.00")
        journals = [
            journal for (journal,) in rows("SELECT id FROM ledger_journal WHERE client_id = %s", bank.client.pk)
        ]
        assert len(journals) == 1
        assert wait_until(lambda: len(leaves_of(journals)) == 1, timeout_s=10)
        ((_, block, _),) = leaves_of(journals)
        ((head,),) = rows("SELECT encode(hash, 'hex') FROM ledger_block WHERE number = %s", block)
        assert wait_until(lambda: head in relay.said(), timeout_s=5)
        assert f'"block":{block},"hash":"{head}"' in relay.said()
        assert relay.stop(within_s=END_WITHIN_S) == 0
    assert bank.posted(done) == 1000


def test_a_proof_is_checked_as_the_page_says(bank: Tenant, tmp_path: Path) -> None:
    with running(relay := Relay(tmp_path / "relay.log"), server := Server()):
        printed = run_page(ROOT / "docs" / "how-to" / "check-a-proof.md", bank=bank, server=server)

    journal, block, head = rows(
        "SELECT j.id::text, b.number, encode(b.hash, 'hex') FROM ledger_journal j "
        "JOIN ledger_leaf l ON l.journal_id = j.id JOIN ledger_block b ON b.number = l.block_number "
        "WHERE j.client_id = %s",
        bank.client.pk,
    )[0]
    lines = printed.splitlines()
    assert f"journal {journal} is in block {block} {head}\n" in printed
    assert "AssertionError: The journal is not in this block." in lines
    assert lines[-1].startswith("The record ends with block ")
    assert f'"hash":"{head}"' in relay.said()
