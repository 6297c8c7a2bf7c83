-- A key that is bound sees only the collections below; bound to none is not bound to all.
alter table api_key add column bound boolean not null default 0;

create table api_key_collection (
    key_id text not null references api_key (id),
    position bigint not null,
    collection_id text not null references collection (id) on delete cascade,
    primary key (key_id, collection_id)
);

create index api_key_collection_of on api_key_collection (collection_id);

-- Hash of the key that minted the token: it sees what that key sees, and ends with it.
alter table client_token add column key_hash text;

-- Where a job's thing lies; null for what belongs to the whole account.
alter table job add column collection_id text;

update job set collection_id = (select collection_id from capture_session where id = job.payload) where kind = 'export_session';
