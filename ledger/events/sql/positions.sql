-- The place of every event in the one order that all readers go by, given once it is committed (number_events.sql).
-- `sequence` counts the events of its key, without a gap.
CREATE TABLE events_position (
    position    bigint      NOT NULL,
    outbox_id   bigint      NOT NULL,
    occurred_at timestamptz NOT NULL,
    client_id   bigint      NOT NULL,
    type        varchar(48) NOT NULL,
    key         uuid        NOT NULL,
    sequence    bigint      NOT NULL,
    PRIMARY KEY (occurred_at, position)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX position_by_position ON events_position (position);
CREATE INDEX position_by_client ON events_position (client_id, position);
CREATE INDEX position_by_outbox ON events_position (outbox_id);

-- How many events a key has.
CREATE TABLE events_key (
    key           uuid   PRIMARY KEY,
    last_sequence bigint NOT NULL
) WITH (fillfactor = 70);

-- How far the numbering has come; who numbers has locked the row. All outbox rows up to `low_id` have their positions.
-- Those up to `fence_id` were written by transactions before `fence_xid`. No event from before `kept_since` is kept, nor
-- all of those up to `dropped_until` (retention.sql).
CREATE TABLE events_numbering (
    id            smallint    PRIMARY KEY CHECK (id = 1),
    last_position bigint      NOT NULL,
    low_id        bigint      NOT NULL,
    fence_id      bigint,
    fence_xid     xid8,
    dropped_until bigint      NOT NULL DEFAULT 0,
    kept_since    timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO events_numbering (id, last_position, low_id) VALUES (1, 0, 0);

CREATE TRIGGER position_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events_position
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON events_position TO app;
GRANT SELECT, INSERT, UPDATE (last_sequence) ON events_key TO app;
GRANT SELECT, UPDATE (last_position, low_id, fence_id, fence_xid) ON events_numbering TO app;
GRANT SELECT ON events_position, events_key, events_numbering TO readonly;
