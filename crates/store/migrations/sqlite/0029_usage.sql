-- Usage: what an account had done for it, month by month. The sums of the months are all there ever was.

create table usage_month (
    user_id text not null references user_account (id),
    -- Of UTC: '2026-11'.
    month text not null,
    requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    ingested_us bigint not null,
    analysed_us bigint not null,
    primary key (user_id, month)
);
