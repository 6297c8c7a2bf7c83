-- How long and how much of it a collection keeps, what is kept for ever, and how much each track is: known without counting chunks.

-- Null: as the server's settings say.
alter table collection add column max_bytes bigint;
alter table collection add column max_age_us bigint;

alter table capture_session add column keep boolean not null default 0;
alter table rtstream add column keep boolean not null default 0;
alter table video add column keep boolean not null default 0;
alter table audio add column keep boolean not null default 0;

alter table track add column collection_id text;
-- Of its sealed chunks; whoever adds or drops one keeps it true.
alter table track add column bytes bigint not null default 0;

update track set
    bytes = (select coalesce(sum(c.bytes), 0) from chunk c where c.track_id = track.id),
    collection_id = coalesce(
        (select r.collection_id from rtstream r where r.id = track.rtstream_id),
        (select s.collection_id from capture_session s where s.id = track.session_id),
        (select v.collection_id from video_part p join video v on v.id = p.video_id where p.track_id = track.id limit 1),
        (select a.collection_id from audio_part p join audio a on a.id = p.audio_id where p.track_id = track.id limit 1));

create index track_collection on track (collection_id);

-- What retention looks at, without the samples' indexes between.
create index chunk_extent on chunk (track_id, start_us, end_us, bytes);
