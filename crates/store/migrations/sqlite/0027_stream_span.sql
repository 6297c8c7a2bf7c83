-- Streams that are lists of spans: ranges of videos and audios in their own time, of rtstreams by the wall clock, in the order of
-- playing. As in `stream`, what they are of is no reference: a stream outlives its source and says that it is gone.
create table stream_span (
    stream_id text not null references stream (id) on delete cascade,
    position bigint not null,
    video_id text,
    audio_id text,
    rtstream_id text,
    start_us bigint not null,
    end_us bigint not null,
    primary key (stream_id, position)
);
