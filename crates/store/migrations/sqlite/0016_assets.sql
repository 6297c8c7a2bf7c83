-- Images: files as they came, and pictures of videos.

create table image (
    id text primary key,
    user_id text not null references user_account (id),
    collection_id text not null,
    name text not null,
    description text,
    -- Key of the object that holds the file.
    object text not null unique,
    bytes bigint not null,
    width bigint not null,
    height bigint not null,
    mime text not null,
    keep boolean not null default false,
    created_at_us bigint not null,
    -- Of a thumbnail: which video it shows, and when in it.
    video_id text references video (id) on delete cascade,
    video_time_us bigint
);

create index image_by_user on image (user_id, collection_id);
create index image_by_collection on image (collection_id, created_at_us);
create index image_by_video on image (video_id, video_time_us) where video_id is not null;
