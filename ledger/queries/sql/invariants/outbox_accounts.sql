-- Accounts without exactly one outbox row account.opened, and such rows of no account.
SELECT coalesce(a.client_id, o.client_id) AS client_id, coalesce(a.public_id, o.key) AS account_id,
    coalesce(o.events, 0) AS events
FROM ledger_account a
FULL JOIN (
    SELECT client_id, key, count(*) AS events
    FROM events_outboxevent
    WHERE type = %(account_opened)s
    GROUP BY client_id, key
) o ON o.key = a.public_id AND o.client_id = a.client_id
WHERE a.id IS NULL OR o.events IS DISTINCT FROM 1
