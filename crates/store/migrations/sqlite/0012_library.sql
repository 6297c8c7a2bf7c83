-- The library: files that came in as they are, and what was made of them.

-- A file of one owner; the same bytes again are the same original. Nothing is shared across owners.
create table original (
    id text primary key,
    user_id text not null references user_account (id),
    sha256 text not null,
    bytes bigint not null,
    -- Key of the object that holds the file.
    object text not null,
    -- As ffprobe names it.
    container text not null,
    created_at_us bigint not null,
    -- Since when its bytes are no longer kept.
    dropped_at_us bigint
);

create unique index original_content on original (user_id, sha256) where dropped_at_us is null;

alter table video add column original_id text references original (id);
alter table video add column description text;
alter table audio add column original_id text references original (id);
alter table audio add column description text;

create index video_original on video (original_id);
create index audio_original on audio (original_id);

-- What a range of a track is for: 'both', 'whole' (to play all of it, as the file has it) or 'cut' (what is cut from).
alter table video_part add column purpose text not null default 'both';
alter table audio_part add column purpose text not null default 'both';

-- A chunk whose object is '' is promised: its times and key frames stand in its index, its bytes are still to be encoded.
create index chunk_promised on chunk (track_id, start_us) where object = '';
