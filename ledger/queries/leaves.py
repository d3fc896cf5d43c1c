"""What of a journal is sealed: every column of it and of its lines, and what was asked for."""

from __future__ import annotations

from config.runtime.sql import sql_file

_TIME = "trim_scale(extract(epoch FROM {}) * 1000000)"
# What a transaction says and what never changes of it (ledger/sql/transaction.sql), as JSON. With names, as jsonb, it
# would be a third of the sealer's time.
_ASKED = {
    "id": "t.id",
    "client_id": "t.client_id",
    "idempotency_key": "t.idempotency_key",
    "request_hash": "encode(t.request_hash, 'hex')",
    "receipt_code": "t.receipt_code",
    "type": "t.type",
    "amount_minor": "t.amount_minor::text",
    "currency": "t.currency_id",
    "debit_account_id": "t.debit_account_id",
    "credit_account_id": "t.credit_account_id",
    "terms": "t.terms",
    "user_id": "t.user_id",
    "peer_user_id": "t.peer_user_id",
    "reference": "t.reference",
    "description": "t.description",
    "metadata": "t.metadata",
    "effective_at_us": _TIME.format("t.effective_at"),
    "execute_at_us": _TIME.format("t.execute_at"),
    "expires_at_us": _TIME.format("t.expires_at"),
    "reverses": "t.reverses_id",
    "batch_id": "t.batch_id",
    "batch_index": "t.batch_index",
    "created_at_us": _TIME.format("t.created_at"),
}
_ASKED_TEXT = f"json_build_array({', '.join(_ASKED.values())})::text"
# Times are microseconds since 1970: whatever a session's time zone and style, and whatever the era.
_JOURNAL = {
    "journal_id": "j.id",
    "client_id": "j.client_id",
    "transaction_id": "j.transaction_id",
    "external_ref": "j.external_ref",
    "kind": "j.kind",
    "entry_count": "j.entry_count",
    "effective_at_us": _TIME.format("j.effective_at"),
    "posted_at_us": _TIME.format("j.posted_at"),
    "transaction_sha256": f"encode(sha256(convert_to({_ASKED_TEXT}, 'UTF8')), 'hex')",
}
_ENTRY = {
    "line": "e.line",
    "account_id": "e.account_id",
    "account": "a.public_id",
    "currency": "e.currency_id",
    "layer": "e.layer",
    "amount_minor": "e.amount_minor",
    "account_version": "e.account_version",
    "posted_after": "e.posted_after",
    "pending_after": "e.pending_after",
    "pending_debits_after": "e.pending_debits_after",
    "posted_at_us": _TIME.format("e.posted_at"),
}
JOURNAL_FIELDS, ENTRY_FIELDS, ASKED_FIELDS = tuple(_JOURNAL), tuple(_ENTRY), tuple(_ASKED)


def _packed(values: dict[str, str]) -> str:
    return " || ".join(f"octet_length(({value})::text) || ':' || ({value})::text" for value in values.values())


LEAVES = (
    sql_file("ledger/queries", "leaves")
    .replace("{journal}", _packed(_JOURNAL))
    .replace("{entry}", _packed(_ENTRY))
    .replace("{asked}", _ASKED_TEXT)
)
