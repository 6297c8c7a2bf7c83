//! What the commands of a client (`upload`, `ls`, `play` and so on) read of the environment: where the server is, a key for it, and
//! where this user's programs keep what they have to remember. The server's own settings are no business of theirs.

use std::path::{Path, PathBuf};

/// As far as the environment says it; flags win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    pub server: Option<String>,
    pub key: Option<String>,
    /// Of this program, for this user. None where there is no home.
    pub state: Option<PathBuf>,
}

impl ClientConfig {
    #[expect(clippy::disallowed_methods, reason = "the config file of this binary reads the environment")]
    pub fn from_environment() -> ClientConfig {
        ClientConfig::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> ClientConfig {
        let state = get("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.or_else(|| get("HOME").map(|home| Path::new(&home).join(".local/state")));
        ClientConfig {
            server: get("VITASCOPE_SERVER"),
            key: get("VITASCOPE_API_KEY"),
            state: state.map(|folder| folder.join("vitascope")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> ClientConfig {
        ClientConfig::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_remembered_lies_in_the_users_state_folder() {
        assert_eq!(read(&[]), ClientConfig::default());
        let state = |pairs| read(pairs).state.unwrap();
        assert_eq!(state(&[("HOME", "/home/a")]), Path::new("/home/a/.local/state/vitascope"));
        assert_eq!(state(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")]), Path::new("/s/vitascope"));
    }
}
