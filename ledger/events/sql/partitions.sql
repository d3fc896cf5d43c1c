-- Make the partitions of this month and the `months_ahead` after it; role app runs it and has no other DDL. How many
-- were made.
CREATE FUNCTION events_ensure_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    first  timestamptz;
    parent text;
    name   text;
    made   integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 36 THEN
        RAISE EXCEPTION 'months_ahead is %, not 0 to 36', months_ahead USING ERRCODE = '22023';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('events_ensure_partitions', 0));
    FOR month IN 0..months_ahead LOOP
        first := date_trunc('month', clock_timestamp(), 'UTC') + make_interval(months => month);
        FOREACH parent IN ARRAY ARRAY['events_outboxevent', 'events_position'] LOOP
            name := parent || to_char(first AT TIME ZONE 'UTC', '_YYYYMM');
            IF to_regclass(format('public.%I', name)) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                    name, parent, first, first + interval '1 month'
                );
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

GRANT EXECUTE ON FUNCTION events_ensure_partitions(integer) TO app;

SELECT events_ensure_partitions(12);
