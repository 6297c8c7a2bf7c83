//! The only reader of the environment in this binary: environment and TOML file in, one checked `Config` out.
//! Keys of the file are the names of the variables without `VITASCOPE_`, in lower case; the environment wins.
//! What the commands of a client need of it is in `client.rs`, where objects lie in `objects.rs`.

mod client;
mod objects;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vitascope_ai::provider::ProviderConfig;
use vitascope_model::collection;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result, Span};

pub use self::client::ClientConfig;
pub use self::objects::ObjectsConfig;

#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub rtsp_listen: SocketAddr,
    pub data_dir: PathBuf,
    pub models_dir: PathBuf,
    /// Without a slash at the end.
    pub public_url: String,
    pub rtsp_public_url: String,
    /// The bootstrap key, if given.
    pub api_key: Option<String>,
    /// Whether URLs of clients may point at loopback and private networks.
    pub allow_private_urls: bool,
    /// Where less is free on the disk of the data, nothing is recorded: bytes.
    pub min_free: u64,
    /// The largest file that is taken, by upload or from a URL: bytes.
    pub max_upload: u64,
    /// Whether films may be brought from pages of sites.
    pub yt_dlp: bool,
    pub objects: ObjectsConfig,
    /// What is kept at the most, unless a collection says otherwise.
    pub retention: Retention,
    /// Threads that run speech models.
    pub speech_workers: usize,
    /// Who makes the finals of transcripts, if not the local model.
    pub transcribe: Option<ProviderConfig>,
    /// The language model, if there is one.
    pub complete: Option<ProviderConfig>,
    /// Who makes vectors of texts, if not the local model.
    pub embed: Option<ProviderConfig>,
    /// Threads of the local model that makes vectors.
    pub embed_threads: usize,
    pub log: String,
    pub log_json: bool,
}

/// The server's own limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retention {
    pub cap: Cap,
    pub max_age: Option<Span>,
}

/// How much all collections may hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cap {
    #[default]
    Off,
    Bytes(i64),
    /// Of the size of the disk that holds the data, from 0 to 1.
    OfDisk(f64),
}

/// Calls to one provider at once: each of the transcriber's has a thread.
const MOST_CALLS: usize = 64;

/// Every key there is: a misspelt one is an error, not a silence.
const KEYS: &[&str] = &[
    "listen",
    "rtsp_listen",
    "data_dir",
    "models_dir",
    "public_url",
    "rtsp_public_url",
    "api_key",
    "allow_private_urls",
    "min_free",
    "max_upload",
    "yt_dlp",
    "objects_url",
    "objects_cache",
    "retention_gb",
    "retention_days",
    "speech_workers",
    "transcribe_url",
    "transcribe_key",
    "transcribe_model",
    "transcribe_timeout",
    "transcribe_at_once",
    "complete_url",
    "complete_key",
    "complete_model",
    "complete_timeout",
    "complete_at_once",
    "embed_url",
    "embed_key",
    "embed_model",
    "embed_timeout",
    "embed_at_once",
    "embed_threads",
    "log",
    "log_format",
    "config",
];

/// Variables of the design that belong to parts which are not built yet: accepted, and named in a warning.
const FUTURE_KEYS: &[&str] = &["rtmp_listen", "rtmp_public_url", "database_url", "events_url", "trusted_proxies"];

impl Config {
    /// From the process's environment, and the file that `VITASCOPE_CONFIG` names.
    #[expect(clippy::disallowed_methods, reason = "the one place of this binary that reads the environment")]
    pub fn from_environment() -> Result<Config> {
        let mut raw = BTreeMap::new();
        let mut home = (None, None);
        for (name, value) in std::env::vars() {
            match name.as_str() {
                "XDG_CACHE_HOME" => home.0 = Some(value).filter(|v| !v.is_empty()),
                "HOME" => home.1 = Some(value),
                _ => {
                    let foreign = name.to_ascii_lowercase();
                    if objects::FOREIGN_KEYS.contains(&foreign.as_str()) {
                        raw.insert(foreign, value);
                    } else if let Some(key) = name.strip_prefix("VITASCOPE_") {
                        raw.insert(key.to_ascii_lowercase(), value);
                    }
                }
            }
        }
        let cache = home.0.map(PathBuf::from).or(home.1.map(|h| Path::new(&h).join(".cache")));
        Config::from_raw(raw, cache.unwrap_or_else(|| PathBuf::from(".cache")))
    }

    fn from_raw(environment: BTreeMap<String, String>, cache: PathBuf) -> Result<Config> {
        let is_foreign = |key: &str| objects::FOREIGN_KEYS.contains(&key);
        let (foreign, environment): (BTreeMap<_, _>, BTreeMap<_, _>) =
            environment.into_iter().partition(|(key, _)| is_foreign(key));
        let mut raw = match environment.get("config") {
            Some(file) => read_file(Path::new(file))?,
            None => BTreeMap::new(),
        };
        // Variables for other programs of ours may stand in the environment; in the file every key must be known.
        raw.extend(
            environment
                .into_iter()
                .filter(|(key, _)| KEYS.contains(&key.as_str()) || FUTURE_KEYS.contains(&key.as_str())),
        );
        let text = |key: &str| raw.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let listen: SocketAddr = parse("listen", text("listen").unwrap_or("127.0.0.1:8484"))?;
        let rtsp_listen: SocketAddr = parse("rtsp_listen", text("rtsp_listen").unwrap_or("127.0.0.1:8554"))?;
        let url = |key: &str, scheme: &str, at: SocketAddr| {
            text(key).map_or_else(|| format!("{scheme}://{at}"), |u| u.trim_end_matches('/').to_owned())
        };
        let remote = text("objects_url").map(|url| objects::remote(url, &foreign)).transpose()?;
        // Of the disk of the data; what lies elsewhere does not fill that.
        let usual_cap = if remote.is_some() { "off" } else { "80%" };
        Ok(Config {
            listen,
            rtsp_listen,
            data_dir: PathBuf::from(text("data_dir").unwrap_or("./data")),
            models_dir: text("models_dir").map_or_else(|| cache.join("vitascope/models"), PathBuf::from),
            public_url: url("public_url", "http", listen),
            rtsp_public_url: url("rtsp_public_url", "rtsp", rtsp_listen),
            api_key: text("api_key").map(str::to_owned),
            allow_private_urls: parse("allow_private_urls", text("allow_private_urls").unwrap_or("false"))?,
            min_free: size("min_free", text("min_free").unwrap_or("1GB"))?,
            max_upload: size("max_upload", text("max_upload").unwrap_or("20GB"))?,
            yt_dlp: parse("yt_dlp", text("yt_dlp").unwrap_or("true"))?,
            objects: ObjectsConfig {
                remote,
                cache_bytes: size("objects_cache", text("objects_cache").unwrap_or("10GB"))?,
            },
            retention: Retention {
                cap: cap(text("retention_gb").unwrap_or(usual_cap))?,
                max_age: days(text("retention_days").unwrap_or("off"))?,
            },
            speech_workers: parse("speech_workers", text("speech_workers").unwrap_or("2"))?,
            transcribe: provider("transcribe", "whisper-1", &text)?,
            complete: provider("complete", "gpt-4o-mini", &text)?,
            embed: provider("embed", "text-embedding-3-small", &text)?,
            embed_threads: parse("embed_threads", text("embed_threads").unwrap_or("1"))?,
            log: text("log").unwrap_or("info").to_owned(),
            log_json: text("log_format") == Some("json"),
        })
    }

    /// Whether only this machine can reach the server.
    pub fn is_local_only(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// An absolute URL of ours.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }
}

/// The provider of one capability: `…_url` chooses it, `…_key`, `…_model`, `…_timeout` (seconds) and `…_at_once` say more.
fn provider<'a>(
    capability: &str,
    model: &str,
    text: &impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<ProviderConfig>> {
    let key = |end: &str| format!("{capability}_{end}");
    let Some(url) = text(&key("url")) else { return Ok(None) };
    let secret = text(&key("key")).map(str::to_owned);
    let name = key("url").to_ascii_uppercase();
    let mut config = ProviderConfig::new(url, secret, text(&key("model")).unwrap_or(model))
        .map_err(|e| Error::invalid(format!("VITASCOPE_{name}: {}", e.message)))?;
    if let Some(seconds) = text(&key("timeout")) {
        config.timeout = Duration::from_secs(parse::<u64>(&key("timeout"), seconds)?.max(1));
    }
    if let Some(calls) = text(&key("at_once")) {
        config.at_once = parse::<usize>(&key("at_once"), calls)?.clamp(1, MOST_CALLS);
    }
    Ok(Some(config))
}

fn parse<T: std::str::FromStr>(key: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| unreadable(key, text))
}

fn unreadable(key: &str, text: &str) -> Error {
    Error::invalid(format!("VITASCOPE_{}={text:?} cannot be read", key.to_ascii_uppercase()))
}

/// Bytes: a number, with B, KB, MB, GB or TB (of a thousand each) or not.
fn size(key: &str, text: &str) -> Result<u64> {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (unit, number) = (text.trim()[digits.len()..].to_ascii_uppercase(), digits.trim());
    let factor = match unit.trim_end_matches('B') {
        "" => 1.0,
        "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        _ => return Err(unreadable(key, text)),
    };
    let bytes = number.parse::<f64>().map_err(|_| unreadable(key, text))? * factor;
    if (0.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(unreadable(key, text)) }
}

/// Gigabytes, a share of the disk, or no limit.
fn cap(text: &str) -> Result<Cap> {
    let wrong = || unreadable("retention_gb", text);
    if text.eq_ignore_ascii_case("off") {
        return Ok(Cap::Off);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.trim().parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 100.0);
        return Ok(Cap::OfDisk(percent.ok_or_else(wrong)? / 100.0));
    }
    text.parse().ok().and_then(collection::bytes_of_gb).map(Cap::Bytes).ok_or_else(wrong)
}

fn days(text: &str) -> Result<Option<Span>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let age = text.parse().ok().and_then(collection::age_of_days);
    age.map(Some).ok_or_else(|| unreadable("retention_days", text))
}

fn read_file(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).invalid(format_args!("read {}", file.display()))?;
    let table: toml::Table = text.parse().invalid(format_args!("read {}", file.display()))?;
    table
        .into_iter()
        .map(|(key, value)| {
            if !KEYS.contains(&key.as_str()) && !FUTURE_KEYS.contains(&key.as_str()) {
                return Err(Error::invalid(format!("{}: unknown key {key:?}", file.display())));
            }
            let value = match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            Ok((key, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config> {
        let raw = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_raw(raw, PathBuf::from("/cache"))
    }

    #[test]
    fn nothing_set_is_a_server_for_this_machine_alone() {
        let c = config(&[]).unwrap();
        assert_eq!(c.public_url, "http://127.0.0.1:8484");
        assert_eq!(c.rtsp_public_url, "rtsp://127.0.0.1:8554");
        assert_eq!(c.models_dir, Path::new("/cache/vitascope/models"));
        assert!(c.is_local_only() && !c.allow_private_urls);
    }

    #[test]
    fn a_provider_is_chosen_by_its_url() {
        assert!(config(&[("transcribe_key", "k")]).unwrap().transcribe.is_none());
        let pairs =
            [("transcribe_url", "http://127.0.0.1:9/v1/"), ("transcribe_key", "k"), ("transcribe_timeout", "7")];
        let provider = config(&pairs).unwrap().transcribe.unwrap();
        assert_eq!((provider.url.as_str(), provider.model.as_str()), ("http://127.0.0.1:9/v1", "whisper-1"));
        assert_eq!((provider.timeout.as_secs(), provider.at_once), (7, 4));
        let complete = config(&[("complete_url", "http://127.0.0.1:9/v1")]).unwrap().complete.unwrap();
        assert_eq!(complete.model, "gpt-4o-mini");
        let embed = config(&[("embed_url", "http://127.0.0.1:9/v1")]).unwrap().embed.unwrap();
        assert_eq!(embed.model, "text-embedding-3-small");
        let error = config(&[("transcribe_url", "nowhere")]).unwrap_err();
        assert_eq!(error.message, "VITASCOPE_TRANSCRIBE_URL: \"nowhere\" is no URL");
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let min_free = |text: &str| config(&[("min_free", text)]).map(|c| c.min_free);
        assert_eq!(config(&[]).unwrap().min_free, 1_000_000_000);
        assert_eq!(min_free("2GB").unwrap(), 2_000_000_000);
        assert_eq!(min_free("1.5 mb").unwrap(), 1_500_000);
        assert_eq!(min_free("4096").unwrap(), 4096);
        for wrong in ["much", "-1", "2 XB", "GB", "1e30"] {
            assert!(min_free(wrong).unwrap_err().message.contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn recordings_are_capped_unless_that_is_off() {
        let read = |pairs: &[(&str, &str)]| config(pairs).map(|c| c.retention);
        assert_eq!(read(&[]).unwrap(), Retention { cap: Cap::OfDisk(0.8), max_age: None });
        let set = read(&[("retention_gb", "0.5"), ("retention_days", "1.5")]).unwrap();
        assert_eq!(set, Retention { cap: Cap::Bytes(500_000_000), max_age: Some(Span::seconds(129_600)) });
        assert_eq!(read(&[("retention_gb", "off"), ("retention_days", "OFF")]).unwrap(), Retention::default());
        for wrong in ["0", "-1", "120%", "0%", "much", "nan"] {
            assert!(
                read(&[("retention_gb", wrong)]).unwrap_err().message.contains("VITASCOPE_RETENTION_GB"),
                "{wrong}"
            );
        }
        assert!(read(&[("retention_days", "0")]).unwrap_err().message.contains("VITASCOPE_RETENTION_DAYS"));
    }

    #[test]
    fn objects_elsewhere_are_not_capped_by_this_disk() {
        let pairs = [
            ("objects_url", "s3://films"),
            ("aws_access_key_id", "id"),
            ("aws_secret_access_key", "secret"),
            ("objects_cache", "2GB"),
        ];
        let c = config(&pairs).unwrap();
        assert_eq!((c.objects.remote.unwrap().bucket, c.objects.cache_bytes), ("films".to_owned(), 2_000_000_000));
        assert_eq!(c.retention.cap, Cap::Off);
        assert!(config(&pairs[..1]).unwrap_err().message.contains("AWS_ACCESS_KEY_ID"));
        assert_eq!(config(&pairs[1..]).unwrap().objects.remote, None);
    }

    #[test]
    fn what_cannot_be_read_names_its_variable() {
        let error = config(&[("listen", "everywhere")]).unwrap_err();
        assert_eq!(error.message, "VITASCOPE_LISTEN=\"everywhere\" cannot be read");
    }

    #[test]
    fn the_environment_wins_over_the_file_and_a_misspelt_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vitascope.toml");
        std::fs::write(&file, "listen = \"0.0.0.0:80\"\nallow_private_urls = true\n").unwrap();
        let file = file.to_str().unwrap();
        let c = config(&[("config", file), ("listen", "127.0.0.1:1")]).unwrap();
        assert_eq!(c.listen.port(), 1);
        assert!(c.allow_private_urls);
        std::fs::write(file, "lisen = \"0.0.0.0:80\"\n").unwrap();
        assert!(config(&[("config", file)]).unwrap_err().message.contains("unknown key \"lisen\""));
    }
}
