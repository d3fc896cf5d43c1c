-- How much was looked at.
SELECT
    (SELECT count(*) FROM clients_client WHERE %(client_id)s::bigint IS NULL OR id = %(client_id)s),
    (SELECT count(*) FROM ledger_transaction WHERE %(client_id)s::bigint IS NULL OR client_id = %(client_id)s),
    (
        SELECT count(*)
        FROM ledger_entry e
        WHERE %(client_id)s::bigint IS NULL
            OR e.account_id IN (SELECT id FROM ledger_account WHERE client_id = %(client_id)s)
    )
