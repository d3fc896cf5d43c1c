-- Drop the months of the outbox and of its positions that ended more than `keep_days` ago; role app runs it and has no
-- other DDL. How many were dropped. A month of which an event may have no position yet stays. Nobody can ask for less
-- than what readers are promised.
CREATE FUNCTION events_drop_partitions(keep_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    month     text;
    ended_at  timestamptz;
    last      bigint;
    is_needed boolean;
    dropped   integer := 0;
BEGIN
    IF keep_days NOT BETWEEN 400 AND 36500 THEN
        RAISE EXCEPTION 'keep_days is %, not 400 to 36500', keep_days USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('events_ensure_partitions', 0));
    FOR month IN
        SELECT right(relname, 6)
        FROM pg_inherits
        JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'events_outboxevent'::regclass
        ORDER BY 1
    LOOP
        ended_at := to_timestamp(month, 'YYYYMM') + interval '1 month';
        EXIT WHEN ended_at > clock_timestamp() - make_interval(days => keep_days);
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %I WHERE id > (SELECT low_id FROM events_numbering))',
            'events_outboxevent_' || month
        ) INTO is_needed;
        EXIT WHEN is_needed;
        EXECUTE format('SELECT max(position) FROM %I', 'events_position_' || month) INTO last;
        EXECUTE format('DROP TABLE %I, %I', 'events_outboxevent_' || month, 'events_position_' || month);
        UPDATE events_numbering SET kept_since = ended_at, dropped_until = greatest(dropped_until, last);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

GRANT EXECUTE ON FUNCTION events_drop_partitions(integer) TO app;
