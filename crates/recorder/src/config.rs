//! What the environment says, read once at the start and nowhere else: where the screen and the sound are, how well to record them,
//! and whether to log. Everything has a default that suits a desktop.

use std::path::{Path, PathBuf};

/// Where things are and how to record them.
#[derive(Clone, PartialEq)]
pub(crate) struct Config {
    /// The X display, as in `:0`.
    pub display: Option<String>,
    /// There is a Wayland session (which we cannot capture without XWayland).
    pub wayland: bool,
    /// Sockets of PulseAudio (or PipeWire's), in the order in which they are tried.
    pub pulse_sockets: Vec<PathBuf>,
    pub pulse_cookies: Vec<PathBuf>,
    /// Pipes that other programs fill with a camera's pictures, beside the cameras that the kernel knows.
    pub cameras: Vec<PathBuf>,
    /// For recording by hand: where the server is, and who we are to it.
    pub server: Option<String>,
    pub token: Option<String>,
    pub fps: u32,
    /// x264's scale: lower is better.
    pub crf: u8,
    pub max_kbps: u32,
    /// A filter as `tracing` takes it; without it stderr stays quiet.
    pub log: Option<String>,
}

impl Config {
    pub(crate) fn from_env() -> Config {
        #[expect(clippy::disallowed_methods, reason = "this is the recorder's config file")]
        Config::read(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> Config {
        let path = |name: &str| get(name).map(PathBuf::from);
        let home = path("HOME");
        let config_home = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
        let cookies =
            [path("PULSE_COOKIE"), config_home.map(|c| c.join("pulse/cookie")), home.map(|h| h.join(".pulse-cookie"))];
        Config {
            display: get("DISPLAY"),
            wayland: get("WAYLAND_DISPLAY").is_some(),
            pulse_sockets: pulse_sockets(get("PULSE_SERVER"), path("PULSE_RUNTIME_PATH"), path("XDG_RUNTIME_DIR")),
            pulse_cookies: cookies.into_iter().flatten().collect(),
            cameras: get("VITASCOPE_CAPTURE_CAMERAS")
                .map(|list| list.split(':').map(PathBuf::from).collect())
                .unwrap_or_default(),
            server: get("VITASCOPE_SERVER"),
            token: get("VITASCOPE_TOKEN"),
            fps: number(get("VITASCOPE_CAPTURE_FPS"), 1, 60, 15),
            crf: number(get("VITASCOPE_CAPTURE_CRF"), 10, 45, 24) as u8,
            max_kbps: number(get("VITASCOPE_CAPTURE_MAX_KBPS"), 200, 100_000, 4_000),
            log: get("VITASCOPE_CAPTURE_LOG"),
        }
    }
}

/// What is no number in the range counts as not set: a recorder that an application starts has nobody to complain to.
fn number(text: Option<String>, least: u32, most: u32, default: u32) -> u32 {
    text.and_then(|t| t.trim().parse().ok()).filter(|n| (least..=most).contains(n)).unwrap_or(default)
}

/// `PULSE_SERVER` names the only ones if it is set; otherwise the usual places.
fn pulse_sockets(server: Option<String>, runtime: Option<PathBuf>, xdg: Option<PathBuf>) -> Vec<PathBuf> {
    let Some(server) = server else {
        let places = [runtime.map(|r| r.join("native")), xdg.map(|x| x.join("pulse/native"))];
        let system = Path::new("/var/run/pulse/native").to_owned();
        return places.into_iter().flatten().chain([system]).collect();
    };
    // A list of addresses, each with the machine it is for in braces if it likes; only local sockets are of use to us.
    let address = |word: &str| {
        let word = word.rsplit_once('}').map_or(word, |(_, address)| address);
        let path = word.strip_prefix("unix:").unwrap_or(word);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    server.split_whitespace().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Config {
        Config::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn pulse_is_looked_for_where_it_says() {
        let sockets = |pairs: &[(&str, &str)]| {
            read(pairs).pulse_sockets.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sockets(&[("PULSE_SERVER", "{abc}unix:/a/native tcp:host /b/native")]), "/a/native /b/native");
        assert_eq!(
            sockets(&[("PULSE_RUNTIME_PATH", "/p"), ("XDG_RUNTIME_DIR", "/x")]),
            "/p/native /x/pulse/native /var/run/pulse/native"
        );
    }

    #[test]
    fn nonsense_in_a_number_is_the_default() {
        for text in ["0", "abc", "1000", ""] {
            assert_eq!(read(&[("VITASCOPE_CAPTURE_FPS", text)]).fps, 15, "{text}");
        }
        assert_eq!(read(&[("VITASCOPE_CAPTURE_FPS", "5")]).fps, 5);
    }
}
