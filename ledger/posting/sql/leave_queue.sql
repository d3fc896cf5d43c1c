-- What has an outcome waits no more.
DELETE FROM ledger_queuedposting WHERE transaction_id = ANY(%(id)s::uuid[])
