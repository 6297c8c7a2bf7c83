//! The models: what is installed, and what runs in this process. No vendor is called and no process started here today.
//! Times are media times from the start of what was heard; what they mean on the wall is the caller's business.

pub mod models;
pub mod speech;
