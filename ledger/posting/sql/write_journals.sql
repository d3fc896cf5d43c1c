-- Journals with all of their lines, in one statement: the guards see them whole at its end.
WITH journal AS (
    INSERT INTO ledger_journal (
        id, client_id, transaction_id, external_ref, kind, entry_count, effective_at, posted_at
    )
    SELECT
        id, client_id, transaction_id, external_ref, kind, entry_count, effective_at, %(posted_at)s::timestamptz
    FROM unnest(
        %(id)s::uuid[], %(client_id)s::bigint[], %(transaction_id)s::uuid[], %(external_ref)s::text[],
        %(kind)s::text[], %(entry_count)s::smallint[], %(effective_at)s::timestamptz[]
    ) AS booked (id, client_id, transaction_id, external_ref, kind, entry_count, effective_at)
)
INSERT INTO ledger_entry (
    journal_id, line, account_id, currency_id, layer, amount_minor, account_version, posted_after, pending_after,
    pending_debits_after, posted_at
)
SELECT
    journal_id, line, account_id, currency_id, layer, amount_minor, account_version, posted_after, pending_after,
    pending_debits_after, %(posted_at)s::timestamptz
FROM unnest(
    %(journal_id)s::uuid[], %(line)s::smallint[], %(account_id)s::bigint[], %(line_currency)s::text[],
    %(layer)s::text[], %(line_amount)s::numeric[], %(account_version)s::bigint[], %(posted_after)s::numeric[],
    %(pending_after)s::numeric[], %(pending_debits_after)s::numeric[]
) AS line (
    journal_id, line, account_id, currency_id, layer, amount_minor, account_version, posted_after, pending_after,
    pending_debits_after
)
