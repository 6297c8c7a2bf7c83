//! The models: what is installed, what runs in this process, and the client of a provider where one is configured. No process is started here.
//! Times are media times from the start of what was heard; what they mean on the wall is the caller's business.

pub mod embed;
pub mod models;
pub mod provider;
pub mod speech;
