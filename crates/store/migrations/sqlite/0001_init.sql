-- Times are bigint microseconds since the epoch and end in _us; ids are text; JSON is text. Booleans are 0 and 1.

create table user_account (
    id text primary key,
    name text not null,
    created_at_us bigint not null
);

-- Only the SHA-256 of a key is kept: a stolen database opens nothing.
create table api_key (
    id text primary key,
    user_id text not null references user_account (id),
    key_hash text not null unique,
    -- The first characters, so that a person can tell keys apart.
    hint text not null,
    created_at_us bigint not null,
    revoked_at_us bigint
);

-- Small facts of the installation, such as the secret that stream ids are made with.
create table setting (
    name text primary key,
    value text not null
);

create table collection (
    id text primary key,
    user_id text not null references user_account (id),
    name text not null,
    description text not null,
    is_public boolean not null,
    -- The one that `default` means; it cannot be deleted.
    is_default boolean not null,
    created_at_us bigint not null
);

create unique index collection_default on collection (user_id) where is_default;

create table client_token (
    token_hash text primary key,
    user_id text not null references user_account (id),
    end_user_id text,
    created_at_us bigint not null,
    expires_at_us bigint not null
);

create table capture_session (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null references collection (id),
    end_user_id text,
    client_id text,
    state text not null,
    callback_url text,
    ws_connection_id text,
    metadata text not null,
    -- Hash of the client token that started it: that token may read it.
    started_by text,
    exported_video_id text,
    failure_code text,
    failure_message text,
    created_at_us bigint not null,
    state_changed_at_us bigint not null
);

create index capture_session_owner on capture_session (user_id, collection_id, created_at_us);
create index capture_session_state on capture_session (state);

create table rtstream (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null references collection (id),
    session_id text references capture_session (id),
    name text not null,
    category text,
    kind text not null,
    state text not null,
    store boolean not null,
    -- Speech: null, 'running' or 'stopped', since when and until when, and who is told.
    transcription text,
    transcription_since_us bigint,
    transcription_until_us bigint,
    transcription_connection_id text,
    created_at_us bigint not null
);

create index rtstream_owner on rtstream (user_id, created_at_us);

-- The channels of a session, in the order in which the recorder named them; each grows one rtstream.
create table capture_channel (
    session_id text not null references capture_session (id),
    position bigint not null,
    channel_id text not null,
    name text not null,
    kind text not null,
    store boolean not null,
    is_primary boolean not null,
    rtstream_id text not null references rtstream (id),
    -- Last segment of the RTSP URL: a secret that lets one publish.
    publish_path text not null unique,
    primary key (session_id, position)
);

create table track (
    id text primary key,
    user_id text not null references user_account (id),
    rtstream_id text references rtstream (id),
    session_id text references capture_session (id),
    role text not null,
    kind text not null,
    open boolean not null
);

create unique index track_of_rtstream on track (rtstream_id) where rtstream_id is not null;
create unique index track_mix on track (session_id) where role = 'mix';

-- Sealed pieces of tracks. The samples are in the object, back to back; the index is here.
create table chunk (
    track_id text not null references track (id),
    start_us bigint not null,
    end_us bigint not null,
    bytes bigint not null,
    samples bigint not null,
    object text not null,
    sample_index blob not null,
    primary key (track_id, start_us)
);

create table video (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null references collection (id),
    name text not null,
    length_us bigint not null,
    bytes bigint not null,
    stream_id text not null,
    created_at_us bigint not null
);

create index video_owner on video (user_id, collection_id, created_at_us);

-- The ranges of tracks that a video owns: picture first.
create table video_part (
    video_id text not null references video (id),
    position bigint not null,
    track_id text not null references track (id),
    start_us bigint not null,
    end_us bigint not null,
    primary key (video_id, position)
);

create index video_part_track on video_part (track_id);

-- What may be played by who knows the id: a range of an rtstream, or a video.
create table stream (
    id text primary key,
    user_id text not null references user_account (id),
    rtstream_id text references rtstream (id),
    start_us bigint,
    end_us bigint,
    video_id text references video (id),
    title text,
    created_at_us bigint not null
);

create table transcript_record (
    rtstream_id text not null references rtstream (id),
    start_us bigint not null,
    end_us bigint not null,
    text text not null,
    -- One word a line: start_us, end_us, text.
    words text not null,
    confidence double precision not null,
    primary key (rtstream_id, start_us)
);

create table job (
    id text primary key,
    user_id text not null references user_account (id),
    kind text not null,
    payload text not null,
    -- Two jobs with the same key are the same work.
    dedupe_key text unique,
    state text not null,
    attempt bigint not null,
    progress bigint not null,
    reply text,
    error text,
    -- Not before this moment; and, while it runs, whose lease ends when.
    run_at_us bigint not null,
    leased_until_us bigint,
    created_at_us bigint not null,
    finished_at_us bigint
);

create index job_due on job (state, run_at_us);

-- What happened, written in the transaction that made it so, in the order of `seq`.
create table outbox (
    seq integer primary key autoincrement,
    id text not null unique,
    user_id text not null,
    session_id text not null,
    state text not null,
    at_us bigint not null,
    end_user_id text,
    ws_connection_id text,
    callback_url text,
    -- When the sockets were told, and when the webhook was: null as long as it is owed.
    told_at_us bigint,
    delivered_at_us bigint,
    attempt bigint not null,
    next_attempt_us bigint not null,
    last_error text
);

create index outbox_owed on outbox (delivered_at_us, session_id, seq);
create index outbox_untold on outbox (told_at_us, seq);
