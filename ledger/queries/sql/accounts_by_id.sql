-- What never changes about accounts; the columns are those of AccountRef.
SELECT a.id, a.public_id, a.path, a.kind, a.currency_id, c.exponent, a.user_id
FROM ledger_account a
JOIN ledger_currency c ON c.code = a.currency_id
WHERE a.id = ANY(%(ids)s::bigint[])
