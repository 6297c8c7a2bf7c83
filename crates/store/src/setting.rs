//! Small facts of the installation, such as the secret with which stream ids are made.

use vitascope_model::Result;

use crate::Tx;
use crate::db::OrBroken;

/// The value of `name`, which is `fresh` if there was none.
pub async fn get_or_insert(tx: &mut Tx, name: &str, fresh: &str) -> Result<String> {
    const SQL: &str = "insert into setting (name, value) values ($1, $2)
        on conflict (name) do update set value = setting.value returning value";
    sqlx::query_scalar(SQL).bind(name).bind(fresh).fetch_one(tx).await.or_broken()
}
