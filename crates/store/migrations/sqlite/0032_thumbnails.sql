-- Thumbnails: the same moment of a video in the same size is one image, however often it is asked for.

-- What it was to fit into; 0: as large as the video.
alter table image add column fit_width bigint not null default 0;
alter table image add column fit_height bigint not null default 0;
-- The one that stands for the video where nobody named a moment.
alter table image add column poster boolean not null default false;

create unique index image_of_moment on image (video_id, video_time_us, fit_width, fit_height) where video_id is not null;
