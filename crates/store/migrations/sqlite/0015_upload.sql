-- Uploads: a slot is a URL of ours that takes one file, for a while.

create table upload_slot (
    -- SHA-256 of the secret that stands in the URL.
    hash text primary key,
    user_id text not null references user_account (id),
    collection_id text not null,
    -- What the asset is to be called, if the client said so when it asked for the URL.
    name text,
    created_at_us bigint not null,
    expires_at_us bigint not null,
    -- The file, once it is on the disk: its name in the folder of uploads, and what the sender called it.
    file text,
    source_name text,
    sha256 text,
    bytes bigint
);

create index upload_slot_expiry on upload_slot (expires_at_us);
