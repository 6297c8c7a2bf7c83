//! What the environment says, read once at the start and nowhere else: where the screen and the sound are, how well to record them,
//! and whether to log. Everything has a default that suits a desktop; what makes no sense is refused, since a default in its place
//! could show what should have been hidden.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use vitascope_model::{Error, Result};

use crate::settings::{Flags, Fps, MaxSize, Quality};
use crate::windows::Pattern;

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
    pub max_size: Option<MaxSize>,
    pub quality: Quality,
    /// Windows that nobody shall see.
    pub hidden: Arc<[Pattern]>,
    /// A filter as `tracing` takes it; without it stderr stays quiet.
    pub log: Option<String>,
}

impl Config {
    /// The environment, and the flags, which win.
    pub(crate) fn from_env(flags: Flags) -> Result<Config> {
        #[expect(clippy::disallowed_methods, reason = "this is the recorder's config file")]
        Config::read(|name| std::env::var(name).ok().filter(|v| !v.is_empty()), flags)
    }

    fn read(get: impl Fn(&str) -> Option<String>, flags: Flags) -> Result<Config> {
        let path = |name: &str| get(name).map(PathBuf::from);
        let home = path("HOME");
        let config_home = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
        let cookies =
            [path("PULSE_COOKIE"), config_home.map(|c| c.join("pulse/cookie")), home.map(|h| h.join(".pulse-cookie"))];
        let fps = setting(&get, "VITASCOPE_CAPTURE_FPS", flags.fps)?;
        let quality = setting(&get, "VITASCOPE_CAPTURE_QUALITY", flags.quality)?;
        Ok(Config {
            display: get("DISPLAY"),
            wayland: get("WAYLAND_DISPLAY").is_some(),
            pulse_sockets: pulse_sockets(get("PULSE_SERVER"), path("PULSE_RUNTIME_PATH"), path("XDG_RUNTIME_DIR")),
            pulse_cookies: cookies.into_iter().flatten().collect(),
            cameras: get("VITASCOPE_CAPTURE_CAMERAS")
                .map(|list| list.split(':').map(PathBuf::from).collect())
                .unwrap_or_default(),
            server: get("VITASCOPE_SERVER"),
            token: get("VITASCOPE_TOKEN"),
            fps: fps.map_or(15, |Fps(n)| n),
            max_size: setting(&get, "VITASCOPE_CAPTURE_MAX_SIZE", flags.max_size)?,
            quality: quality.unwrap_or_default(),
            hidden: hidden(get("VITASCOPE_CAPTURE_EXCLUDE_WINDOWS"), flags.exclude_windows)?,
            log: get("VITASCOPE_CAPTURE_LOG"),
        })
    }
}

fn setting<T: FromStr<Err = Error>>(
    get: impl Fn(&str) -> Option<String>,
    name: &str,
    flag: Option<T>,
) -> Result<Option<T>> {
    let parse = |text: String| text.parse().map_err(|e| Error::invalid(format!("{name}: {e}")));
    if flag.is_some() { Ok(flag) } else { get(name).map(parse).transpose() }
}

/// What the variable hides and what the flags hide: nobody shows a window by hiding another.
fn hidden(variable: Option<String>, flags: Vec<Pattern>) -> Result<Arc<[Pattern]>> {
    let variable = variable.unwrap_or_default();
    let listed = variable.split(',').filter(|text| !text.trim().is_empty()).map(str::parse);
    listed.chain(flags.into_iter().map(Ok)).collect()
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
        try_read(pairs, Flags::default()).unwrap()
    }

    fn try_read(pairs: &[(&str, &str)], flags: Flags) -> Result<Config> {
        Config::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), flags)
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
    fn a_flag_wins_over_its_variable_and_nonsense_is_refused() {
        let pairs = [("VITASCOPE_CAPTURE_FPS", "5"), ("VITASCOPE_CAPTURE_MAX_SIZE", "1280x720")];
        let flags = Flags { fps: Some(Fps(30)), ..Flags::default() };
        let config = try_read(&pairs, flags).unwrap();
        assert_eq!((config.fps, config.max_size), (30, Some(MaxSize { width: 1280, height: 720 })));
        assert_eq!((read(&[]).fps, read(&[]).quality, read(&[]).max_size), (15, Quality::Medium, None));
        let refused = try_read(&[("VITASCOPE_CAPTURE_QUALITY", "best")], Flags::default()).err().unwrap();
        assert_eq!(refused.to_string(), "VITASCOPE_CAPTURE_QUALITY: \"best\" is none of low, medium, high");
    }

    #[test]
    fn windows_are_hidden_by_the_variable_and_by_flags() {
        let flags = Flags { exclude_windows: vec!["vault".parse().unwrap()], ..Flags::default() };
        let config = try_read(&[("VITASCOPE_CAPTURE_EXCLUDE_WINDOWS", "mail, *bank* ,")], flags).unwrap();
        let expected = ["mail", "*bank*", "vault"].map(|t| t.parse().unwrap());
        assert_eq!(config.hidden[..], expected);
    }
}
