-- The lane of a key: a share of all keys, of which there are 16.
CREATE FUNCTION events_lane(key uuid) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (get_byte(uuid_send(key), 15) & 15)::smallint;

GRANT EXECUTE ON FUNCTION events_lane(uuid) TO app;

-- How far each follower of the events (a listener or a transport) has come in each of its lanes: it is through with all
-- events of the lane up to `position`, but for those that are parked.
CREATE TABLE events_cursor (
    follower varchar(64) NOT NULL,
    lane     smallint    NOT NULL CHECK (lane BETWEEN 0 AND 15),
    position bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (follower, lane)
) WITH (fillfactor = 10);

-- What a listener could not take, and what came after it for the same key: `attempts` of the first of a key alone grow.
CREATE TABLE events_parked (
    follower        varchar(64)  NOT NULL,
    key             uuid         NOT NULL,
    position        bigint       NOT NULL,
    lane            smallint     NOT NULL,
    attempts        smallint     NOT NULL,
    next_attempt_at timestamptz  NOT NULL,
    error_code      varchar(64)  NOT NULL,
    error           varchar(500) NOT NULL,
    PRIMARY KEY (follower, key, position)
);

-- What has had its effect, written in the effect's own commit: nothing takes effect twice, however often it is told.
-- `event_id` is our event's, or that of a message with its source.
CREATE TABLE events_processed (
    consumer     varchar(128) NOT NULL,
    event_id     varchar(320) NOT NULL,
    processed_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX processed_by_time ON events_processed (split_part(consumer, ':', 1), processed_at);

GRANT SELECT, INSERT, UPDATE (position) ON events_cursor TO app;
GRANT SELECT, INSERT, DELETE, UPDATE (attempts, next_attempt_at, error_code, error) ON events_parked TO app;
GRANT SELECT, INSERT, DELETE ON events_processed TO app;
GRANT SELECT ON events_cursor, events_parked, events_processed TO readonly;
