-- What roles app and readonly may do to the books and must not: app only inserts, and updates the named columns. Time
-- shifts come from the guard on entry alone, what they are summed up to from its function.
WITH book AS (
    SELECT b.name, b.updated, p.relid
    FROM (
        VALUES
            ('ledger_journal', '{}'::text[]),
            ('ledger_entry', '{}'),
            ('ledger_timeshift', '{}'),
            ('ledger_shiftspan', '{}'),
            ('ledger_shiftsum', '{}'),
            ('ledger_folding', '{last_block}'),
            ('ledger_transactionevent', '{}'),
            ('events_outboxevent', '{}'),
            ('events_position', '{}'),
            (
                'events_deadletter',
                '{status,error_code,error,attempts,failed_at,replay_count,last_error,resolved_at,resolved_by,reason}'
            ),
            ('ledger_block', '{}'),
            ('ledger_leaf', '{}'),
            ('ledger_sealing', '{last_position}'),
            ('clients_auditentry', '{}'),
            ('ledger_currency', '{}'),
            ('ledger_balance', '{floor,ceiling}'),
            ('ledger_account', '{status,frozen,metadata}'),
            (
                'ledger_transaction',
                '{status,error_code,attempts,version,completed_at,booked_minor,reversed_minor}'
            )
    ) AS b (name, updated)
    CROSS JOIN LATERAL (
        SELECT to_regclass('public.' || b.name) AS relid
        UNION
        SELECT relid FROM pg_partition_tree(to_regclass('public.' || b.name))
    ) p
),
role AS (
    SELECT oid, rolname AS name FROM pg_roles WHERE rolname IN ('app', 'readonly')
)
SELECT NULL::bigint AS client_id, r.name AS role, b.relid::text AS on_table, p.privilege
FROM book b
CROSS JOIN role r
CROSS JOIN (VALUES ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS p (privilege)
WHERE has_table_privilege(r.oid, b.relid, p.privilege)
UNION ALL
SELECT NULL, r.name, b.relid::text, 'UPDATE of ' || c.attname
FROM book b
CROSS JOIN role r
JOIN pg_attribute c ON c.attrelid = b.relid AND c.attnum > 0 AND NOT c.attisdropped
WHERE has_column_privilege(r.oid, b.relid, c.attnum, 'UPDATE')
    AND (r.name = 'readonly' OR c.attname <> ALL (b.updated))
UNION ALL
SELECT NULL, r.name, b.relid::text, 'INSERT'
FROM book b
CROSS JOIN role r
WHERE (r.name = 'readonly' OR b.name IN ('ledger_timeshift', 'ledger_shiftspan', 'ledger_shiftsum'))
    AND has_any_column_privilege(r.oid, b.relid, 'INSERT')
UNION ALL
SELECT NULL, r.name, b.relid::text, 'all: it is the owner, or may become it'
FROM book b
JOIN pg_class t ON t.oid = b.relid
CROSS JOIN role r
WHERE pg_has_role(r.oid, t.relowner, 'MEMBER')
UNION ALL
SELECT NULL, r.name, 'schema public', 'CREATE'
FROM role r
WHERE has_schema_privilege(r.oid, 'public', 'CREATE')
