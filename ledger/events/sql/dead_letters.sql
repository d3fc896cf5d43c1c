-- What came is kept as it came: role app changes only what became of it.
GRANT SELECT, INSERT, UPDATE (
    status, error_code, error, attempts, failed_at, replay_count, last_error, resolved_at, resolved_by, reason
) ON events_deadletter TO app;
GRANT SELECT ON events_deadletter TO readonly;
