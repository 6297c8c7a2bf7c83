-- Uploads become tracks.

-- Where what was made of the file first lies; and bytes of the file that no chunk counts, since no sample of a track lies there.
alter table original add column collection_id text not null default '';
alter table original add column loose_bytes bigint not null default 0;
create unique index original_object on original (object);
create index original_by_collection on original (collection_id);

-- Of a track that was made from an uploaded file.
alter table track add column original_id text references original (id);
create index track_original on track (original_id) where original_id is not null;

-- Who is to be told when a job has ended.
alter table job add column callback_url text;
