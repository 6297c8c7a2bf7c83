-- A slot's file may come in by pieces.

-- The file's name in the folder of uploads while it does, how many bytes it will have,
-- and how many of them are known to be right while the sum of a piece is still to be checked.
alter table upload_slot add column arriving text;
alter table upload_slot add column declared bigint;
alter table upload_slot add column sure bigint;
