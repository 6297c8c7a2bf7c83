-- Live indexes of what an rtstream says: its transcript in windows, each with what was made of its words.
create table live_index (
    id text primary key,
    rtstream_id text not null references rtstream (id) on delete cascade,
    name text,
    prompt text,
    model_name text,
    -- 'word', 'sentence' or 'time', and how many of them (of seconds, if time) are a window.
    segmenter text not null,
    segment_size bigint not null,
    -- 'running' or 'stopped'; a stopped one is settled when its last window is written as well.
    state text not null,
    is_settled boolean not null,
    ws_connection_id text,
    -- Words before this moment are not its own.
    from_us bigint not null,
    -- How far its records go: the utterance, by its beginning, and how many of its words. Null before the first record.
    done_us bigint,
    done_words bigint,
    created_at_us bigint not null
);

create index live_index_rtstream on live_index (rtstream_id, created_at_us);
create index live_index_open on live_index (is_settled) where not is_settled;

create table live_index_record (
    index_id text not null references live_index (id) on delete cascade,
    position bigint not null,
    start_us bigint not null,
    end_us bigint not null,
    text text not null,
    -- What made the text, whether it followed the prompt, and why not if it should have.
    model text not null,
    prompt_followed boolean not null,
    error text,
    primary key (index_id, position)
);
