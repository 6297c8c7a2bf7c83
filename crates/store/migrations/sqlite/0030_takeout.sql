-- Takeouts: files made to be taken away, of streams or by transcodes, for a week.

create table takeout (
    id text primary key,
    user_id text not null references user_account (id),
    -- Null for what lies in no collection.
    collection_id text,
    -- 'download' or 'transcode'.
    kind text not null,
    name text not null,
    -- The stream that it is made of.
    stream_id text,
    -- The job that makes it: how it stands, that says.
    job_id text not null unique,
    -- The file, once it is there.
    object text unique,
    bytes bigint,
    length_us bigint,
    has_picture boolean,
    created_at_us bigint not null,
    expires_at_us bigint not null
);

create index takeout_owner on takeout (user_id, kind, id);
create index takeout_expiry on takeout (expires_at_us);
create index takeout_stream on takeout (stream_id) where stream_id is not null;
