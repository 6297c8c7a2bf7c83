-- Audio assets beside videos, and deletion: what is deleted is marked first (a live recording has to end before its rows can go),
-- objects that no row needs any more wait out a grace, and a stream outlives its source, so that its players are told `410 Gone`.

create table audio (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null references collection (id),
    name text not null,
    length_us bigint not null,
    bytes bigint not null,
    stream_id text not null,
    created_at_us bigint not null
);

create index audio_owner on audio (user_id, collection_id, created_at_us);

-- The ranges of tracks that an audio owns, as `video_part` for a video.
create table audio_part (
    audio_id text not null references audio (id),
    position bigint not null,
    track_id text not null references track (id),
    start_us bigint not null,
    end_us bigint not null,
    primary key (audio_id, position)
);

create index audio_part_track on audio_part (track_id);

-- As before, but without references to what it plays. A range, a video, an audio, or (an rtstream alone) the live edge of an rtstream.
create table stream_without_references (
    id text primary key,
    user_id text not null references user_account (id),
    rtstream_id text,
    start_us bigint,
    end_us bigint,
    video_id text,
    audio_id text,
    title text,
    description text,
    created_at_us bigint not null
);

insert into stream_without_references (id, user_id, rtstream_id, start_us, end_us, video_id, title, created_at_us)
select id, user_id, rtstream_id, start_us, end_us, video_id, title, created_at_us from stream;

drop table stream;

alter table stream_without_references rename to stream;

create index stream_rtstream on stream (rtstream_id);
create index stream_video on stream (video_id);
create index stream_audio on stream (audio_id);

-- Marked for deletion: not there for anybody who asks, and gone as soon as nothing records any more.
alter table capture_session add column deleted_at_us bigint;
alter table rtstream add column deleted_at_us bigint;

-- What was recorded before this moment is no longer kept.
alter table track add column kept_from_us bigint;

create index track_unowned on track (id) where rtstream_id is null and session_id is null;

-- Objects without a row, until the sweeper takes them.
create table dropped_object (
    object text primary key,
    track_id text not null,
    bytes bigint not null,
    dropped_at_us bigint not null
);

create index dropped_object_due on dropped_object (dropped_at_us);
