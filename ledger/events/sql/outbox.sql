-- The outbox, partitioned by month. `data` is JSON, but parsing it into jsonb would be an eighth of a posting round.
-- `id` is drawn while the key's account is locked, so it orders the rows of a key.
CREATE SEQUENCE events_outbox_id AS bigint;

CREATE TABLE events_outboxevent (
    id          bigint      NOT NULL DEFAULT nextval('events_outbox_id'),
    event_id    uuid        NOT NULL,
    client_id   bigint      NOT NULL,
    type        varchar(48) NOT NULL,
    key         uuid        NOT NULL,
    data        text        NOT NULL,
    trace       varchar(64) NOT NULL DEFAULT '',
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX outbox_by_id ON events_outboxevent (id);

CREATE TRIGGER outbox_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events_outboxevent
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT USAGE ON SEQUENCE events_outbox_id TO app;
GRANT SELECT, INSERT ON events_outboxevent TO app;
GRANT SELECT ON events_outboxevent TO readonly;
