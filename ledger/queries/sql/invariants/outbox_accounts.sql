-- Accounts without exactly one outbox row account.opened, changes of accounts (their audit entries) without one of
-- their type each, and such rows of nothing. What was opened before the oldest outbox row that is kept is left out: its
-- id tells when.
WITH kept AS (
    SELECT CASE
        WHEN kept_since = '-infinity' THEN ''
        ELSE regexp_replace(lpad(to_hex((extract(epoch FROM kept_since) * 1000)::bigint), 12, '0'), '^.{8}', '\&-')
    END AS since
    FROM events_numbering
)
SELECT coalesce(m.client_id, o.client_id) AS client_id, coalesce(m.account_id, o.key) AS account_id,
    coalesce(m.type, o.type) AS type, coalesce(m.changes, 0) AS changes, coalesce(o.events, 0) AS events
FROM (
    SELECT client_id, public_id AS account_id, %(account_opened)s AS type, 1 AS changes
    FROM ledger_account
    UNION ALL
    SELECT a.client_id, a.public_id, h.action, count(*)
    FROM clients_auditentry h
    JOIN ledger_account a ON a.id::text = h.object_id
    WHERE h.object_type = 'ledger.account' AND starts_with(h.action, 'account.')
    GROUP BY a.client_id, a.public_id, h.action
) m
FULL JOIN (
    SELECT client_id, key, type, count(*) AS events
    FROM events_outboxevent
    WHERE starts_with(type, 'account.')
    GROUP BY client_id, key, type
) o ON o.key = m.account_id AND o.client_id = m.client_id AND o.type = m.type
WHERE coalesce(m.account_id, o.key)::text COLLATE "C" >= (SELECT since FROM kept)
    AND m.changes IS DISTINCT FROM o.events
