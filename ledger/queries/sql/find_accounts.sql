-- What never changes about a client's accounts, by path or by id; the columns are those of AccountRef.
SELECT a.id, a.public_id, a.path, a.kind, a.currency_id, c.exponent, a.user_id
FROM ledger_account a
JOIN ledger_currency c ON c.code = a.currency_id
WHERE a.client_id = %(client_id)s AND (a.path = ANY(%(paths)s::text[]) OR a.public_id = ANY(%(ids)s::uuid[]))
