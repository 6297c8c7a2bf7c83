-- Transcripts of videos and audios: what was said, in the time of the asset.

create table asset_transcript (
    -- The video's or the audio's id, which stands again in one of the two columns after it: they let go of it with the asset.
    asset_id text primary key,
    video_id text references video (id) on delete cascade,
    audio_id text references audio (id) on delete cascade,
    language text not null,
    -- Up to here it was heard: a job that is run again goes on there.
    heard_us bigint not null default 0,
    complete boolean not null default false,
    job_id text not null,
    created_at_us bigint not null,
    check ((video_id is null) <> (audio_id is null))
);

create index asset_transcript_video on asset_transcript (video_id) where video_id is not null;
create index asset_transcript_audio on asset_transcript (audio_id) where audio_id is not null;

create table asset_utterance (
    asset_id text not null references asset_transcript (asset_id) on delete cascade,
    start_us bigint not null,
    end_us bigint not null,
    -- A line for each word: start, end, text.
    words text not null,
    confidence double precision not null,
    primary key (asset_id, start_us)
);
