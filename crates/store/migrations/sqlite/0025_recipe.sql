-- How a track is made out of a stream of its original; null of tracks that are not encoded.
alter table track add column recipe text;
