-- Messages that wait for another attempt, and those of their key that came after them; their brokers need not give them
-- again. `queue` stands for the key, and for the message itself where it has none; `place` is where it came from.
-- `attempts` counts those that were begun, whatever has become of whoever began them.
CREATE TABLE events_parkedmessage (
    id              bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer        varchar(128) NOT NULL,
    queue           uuid         NOT NULL,
    place           varchar(96)  NOT NULL,
    message         bytea        NOT NULL,
    attempts        smallint     NOT NULL,
    next_attempt_at timestamptz  NOT NULL,
    UNIQUE (consumer, place)
);
CREATE INDEX parked_message_by_queue ON events_parkedmessage (consumer, queue, id);

-- Messages that a broker gave again and that were tried, together with others: of one that is still here when it is given
-- once more, somebody may have died.
CREATE TABLE events_suspect (
    consumer varchar(128) NOT NULL,
    event_id varchar(320) NOT NULL,
    tried_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, event_id)
);

GRANT SELECT, INSERT, DELETE, UPDATE (attempts, next_attempt_at) ON events_parkedmessage TO app;
GRANT SELECT, INSERT, DELETE ON events_suspect TO app;
GRANT SELECT ON events_parkedmessage, events_suspect TO readonly;
