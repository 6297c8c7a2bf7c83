-- Events of any kind take the place of the outbox of session states. What is told is written once, as it will be told:
-- a socket that reconnects and a webhook that is tried again get the same to the letter.

create table event (
    seq integer primary key autoincrement,
    id text not null unique,
    user_id text not null,
    -- Where what it speaks of lies; null for what belongs to the whole account.
    collection_id text,
    session_id text,
    -- As in 'capture_session.active'.
    name text not null,
    at_us bigint not null,
    -- JSON text for sockets; null where only a webhook is told.
    frame text
);

create index event_at on event (at_us);

-- Which sockets are told: the first connection of a line of connections that took each other's place, or a user, whose sockets all hear it.
create table event_to (
    line text not null,
    seq bigint not null references event (seq),
    primary key (line, seq)
);

create index event_to_seq on event_to (seq);

-- What is owed to a webhook, or was: one row an event at the most. Those of one lane are delivered one after the other.
create table delivery (
    seq bigint primary key references event (seq),
    lane text not null,
    url text not null,
    body text not null,
    -- 'pending', 'delivered' or 'failed'.
    state text not null,
    attempts bigint not null,
    next_attempt_us bigint,
    last_attempt_us bigint,
    response_code bigint,
    last_error text
);

create index delivery_pending on delivery (lane, seq) where state = 'pending';

-- Every WebSocket connection that was opened, for those that take its place. Kept for months: what was bound to it may live so long.
create table connection (
    id text primary key,
    user_id text not null references user_account (id),
    -- Hash of the client token that opened it; null for an API key.
    token_hash text,
    -- The first connection of those that took each other's place; itself if it took none.
    line text not null,
    opened_at_us bigint not null
);

-- The newest event of a line that is not kept any more.
create table forgotten (
    line text primary key,
    seq bigint not null,
    event_id text not null
);

-- With what webhooks are signed. It cannot be a hash: signing needs it. The one before is good for a while after a change.
create table webhook_secret (
    user_id text primary key references user_account (id),
    secret text not null,
    previous text,
    previous_until_us bigint,
    made_at_us bigint not null
);

drop table outbox;
