-- The same image again is another row with the same object: what is stored once may be named twice.

create table image_content (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null,
    name text not null,
    description text,
    -- Key of the object that holds the file.
    object text not null,
    -- Of an uploaded file.
    sha256 text,
    bytes bigint not null,
    width bigint not null,
    height bigint not null,
    mime text not null,
    keep boolean not null default false,
    created_at_us bigint not null,
    -- Of a thumbnail: which video it shows, and when in it; what it was to fit into (0: as large as the video); and whether it stands
    -- for the video where nobody named a moment.
    video_id text references video (id) on delete cascade,
    video_time_us bigint,
    fit_width bigint not null default 0,
    fit_height bigint not null default 0,
    poster boolean not null default false
);

insert into image_content (id, user_id, collection_id, name, description, object, bytes, width, height, mime, keep, created_at_us,
    video_id, video_time_us, fit_width, fit_height, poster)
select id, user_id, collection_id, name, description, object, bytes, width, height, mime, keep, created_at_us,
    video_id, video_time_us, fit_width, fit_height, poster from image;

drop table image;
alter table image_content rename to image;

create index image_by_user on image (user_id, collection_id);
create index image_by_collection on image (collection_id, created_at_us);
create index image_by_video on image (video_id, video_time_us) where video_id is not null;
create unique index image_of_moment on image (video_id, video_time_us, fit_width, fit_height) where video_id is not null;
create index image_by_object on image (object);
create index image_by_content on image (user_id, sha256) where sha256 is not null;
