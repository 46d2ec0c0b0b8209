-- What was consumed, what became of it, and what is kept for a person to mend.
-- `source` is topic/generation/partition, or `quarantine`: it stands in each key, so that two
-- writers never wait for one hot row.

create table consumed_offsets (
    topic        text not null,
    generation   integer not null,     -- another log under the same name is another generation
    partition    integer not null,
    topic_id     uuid,                 -- Kafka's identity of the log; null: not known
    first_offset bigint not null default 0,
    next_offset  bigint not null default 0,
    witness      bytea,                -- hash of the record at next_offset - 1; null: none to compare
    primary key (topic, partition, generation),
    check (next_offset >= first_offset)
);

create table offset_gaps (
    gap_id          bigint generated always as identity primary key,
    topic           text not null,
    generation      integer not null,
    partition       integer not null,
    first_offset    bigint not null,
    next_offset     bigint,            -- null: of unknown size, the log was replaced
    cause           text not null check (cause in ('expired_unread', 'log_replaced', 'not_in_log')),
    noticed_at      timestamptz not null default now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    note            text,
    check (next_offset > first_offset)
);

create table ledger_messages (
    source  text not null,
    hour    timestamptz not null,      -- of receipt
    outcome text not null check (outcome in ('decoded', 'undecodable', 'liveness')),
    reason  text not null default '',
    n       bigint not null,
    primary key (source, hour, outcome, reason)
);

create table ledger_readings (
    source  text not null,
    hour    timestamptz not null,      -- of receipt
    kind    text not null,
    outcome text not null check (outcome in ('decoded', 'written', 'merged', 'duplicate',
                                             'corrected', 'quarantined', 'withdrawn')),
    reason  text not null default '',
    n       bigint not null,
    primary key (source, hour, kind, outcome, reason)
);

create table stored_rows (
    source text not null,
    kind   text not null,
    day    date not null,              -- of the event, UTC
    n      bigint not null,
    primary key (source, kind, day)
);

-- Rows taken out of the hypertables on purpose; equation recount_rows subtracts them.
create table removed_rows (
    kind  text not null,
    day   date not null,
    cause text not null check (cause in ('dropped_by_retention', 'erased')),
    n     bigint not null,
    primary key (kind, day, cause)
);

create sequence batch_ids;

create table batches (
    batch_id     bigint not null,
    source       text not null,
    first_offset bigint,               -- null where the source is no log
    next_offset  bigint,
    stored_at    timestamptz not null default now(),
    messages     bigint not null,
    qos0         bigint not null default 0,
    readings     bigint not null,
    primary key (batch_id, source)
);
create index batches_stored_at on batches (stored_at);

-- Insert-only: which hours a batch touched, once for each worker slot of derive. Visible exactly
-- when its readings are; whoever works an hour off deletes the very rows that it saw.
create table changed_hours (
    kind     text not null,
    hour     timestamptz not null,     -- of the event, UTC
    slot     smallint not null,
    batch_id bigint not null
);
create index changed_hours_slot on changed_hours (slot, kind, hour);

create table derive_slots (
    one   boolean primary key default true check (one),
    slots smallint not null check (slots between 1 and 256)
);
insert into derive_slots (slots) values (4);

create table reading_revisions (
    kind        text not null,
    device_id   text collate "C" not null,
    part        text collate "C" not null,
    time        timestamptz not null,
    former      jsonb not null,        -- the whole row as it stood, provenance included
    replaced_at timestamptz not null default now(),
    replaced_by bigint not null,       -- batch_id of the change
    outcome     text not null check (outcome in ('merged', 'corrected', 'withdrawn'))
);
create index reading_revisions_identity on reading_revisions (kind, device_id, part, time);
create index reading_revisions_batch on reading_revisions (replaced_by);

-- Quarantine: bytes shared by digest, one message row a Kafka record, one item a refusal.
create table quarantine_payloads (
    digest  bytea primary key,
    payload bytea not null
);

create sequence quarantine_message_ids;

create table quarantine_messages (
    message_id   bigint primary key default nextval('quarantine_message_ids'),
    topic        text not null,        -- Kafka's
    generation   integer not null,
    partition    integer not null,
    kafka_offset bigint not null,
    received_at  timestamptz not null,
    mqtt_topic   text not null,
    oversize     text,
    refused      text,
    digest       bytea not null references quarantine_payloads,
    unique (topic, generation, partition, kafka_offset)
);

create table quarantine_items (
    item_id        bigint generated always as identity primary key,
    message_id     bigint not null references quarantine_messages,
    source         text not null,      -- the ledger source that counted it
    position       integer,            -- of the reading in its message; null: the whole message
    reason         text not null,
    detail         text not null,
    path           text,
    byte_position  bigint,
    kind           text,
    device_id      text,
    part           text,
    time           timestamptz,
    state          text not null default 'open'
                   check (state in ('open', 'replayed', 'discarded', 'expired')),
    made_at        timestamptz not null default now(),
    closed_at      timestamptz,
    closed_by      text,
    note           text,
    mended_digest  bytea references quarantine_payloads
);
create index quarantine_items_open on quarantine_items (reason, device_id) where state = 'open';
create index quarantine_items_message on quarantine_items (message_id);

create table ledger_quarantine (
    source text not null,
    state  text not null check (state in ('made', 'open', 'replayed', 'discarded', 'expired')),
    n      bigint not null,
    primary key (source, state)
);
