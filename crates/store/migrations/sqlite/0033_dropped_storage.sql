-- A video whose media was let go of: its row, thumbnails and what was learnt from it stay, and it owns no range of a track any more.
alter table video add column dropped_at_us bigint;
