-- What an rtstream's owner may change, what was exported from it, and where each chunk stands in its live playlist.

alter table rtstream add column sample_rate bigint not null default 30;
-- A video or an audio: the export of what it had recorded then.
alter table rtstream add column exported_asset_id text;

-- The export that shows this channel; that of the primary one is the session's own.
alter table capture_channel add column exported_video_id text;

-- Segments of the live playlist in this chunk, those before it, and the gaps in the recording up to its start.
alter table chunk add column segments bigint not null default 0;
alter table chunk add column first_segment bigint not null default 0;
alter table chunk add column gaps bigint not null default 0;
