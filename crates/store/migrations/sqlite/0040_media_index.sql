-- Indexes of videos and audios: records of what is said or shown in them, with what they are found by.

create table media_index (
    id text primary key,
    -- The asset's id, which stands again in one of the two columns after it: they let go of it with the asset.
    asset_id text not null,
    video_id text references video (id) on delete cascade,
    audio_id text references audio (id) on delete cascade,
    -- 'spoken_word'.
    kind text not null,
    -- Of the vectors.
    model text not null,
    complete boolean not null default false,
    job_id text not null,
    created_at_us bigint not null,
    check ((video_id is null) <> (audio_id is null))
);

create unique index media_index_spoken on media_index (asset_id) where kind = 'spoken_word';
create index media_index_video on media_index (video_id) where video_id is not null;
create index media_index_audio on media_index (audio_id) where audio_id is not null;

create table media_record (
    index_id text not null references media_index (id) on delete cascade,
    n bigint not null,
    start_us bigint not null,
    end_us bigint not null,
    text text not null,
    -- 32-bit floats, little-endian, of length 1.
    vector blob not null,
    primary key (index_id, n)
);
