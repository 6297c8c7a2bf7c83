//! Where objects lie: the data folder, or an S3-compatible store beside it. The keys are the variables that every tool for S3 reads.

use std::collections::BTreeMap;

use vitascope_model::{Error, Result};
use vitascope_store::RemoteConfig;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectsConfig {
    /// None: the data folder is all there is.
    pub remote: Option<RemoteConfig>,
    /// How much of what is there is kept here as well: bytes.
    pub cache_bytes: u64,
}

/// Variables that are not ours, in lower case.
pub(super) const FOREIGN_KEYS: &[&str] = &[
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region",
    "aws_default_region",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
];

pub(super) fn remote(url: &str, foreign: &BTreeMap<String, String>) -> Result<RemoteConfig> {
    let of = |key: &str| foreign.get(key).filter(|value| !value.is_empty()).cloned();
    let needed = |key: &str| {
        of(key).ok_or_else(|| {
            Error::invalid(format!("VITASCOPE_OBJECTS_URL names an S3 store: set {} too", key.to_ascii_uppercase()))
        })
    };
    let wrong = || Error::invalid(format!("VITASCOPE_OBJECTS_URL={url:?} must be s3://bucket or s3://bucket/prefix"));
    let rest = url.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let prefix = prefix.trim_matches('/');
    let is_path = prefix.split('/').all(|part| part.chars().all(is_name) && part != "." && part != "..");
    if bucket.is_empty() || !bucket.chars().all(is_name) || !is_path {
        return Err(wrong());
    }
    let endpoint = of("aws_endpoint_url_s3").or_else(|| of("aws_endpoint_url"));
    if let Some(at) = &endpoint
        && !(at.starts_with("http://") || at.starts_with("https://"))
    {
        return Err(Error::invalid(format!("AWS_ENDPOINT_URL={at:?} must begin with http:// or https://")));
    }
    Ok(RemoteConfig {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint,
        region: of("aws_region").or_else(|| of("aws_default_region")).unwrap_or_else(|| "us-east-1".to_owned()),
        key_id: needed("aws_access_key_id")?,
        secret: needed("aws_secret_access_key")?,
        token: of("aws_session_token"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<RemoteConfig> {
        remote(url, &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    const KEYS: [(&str, &str); 2] = [("aws_access_key_id", "id"), ("aws_secret_access_key", "secret")];

    #[test]
    fn a_bucket_with_and_without_a_prefix() {
        let found = read("s3://films/lab/one/", &KEYS).unwrap();
        assert_eq!(
            (found.bucket.as_str(), found.prefix.as_str(), found.region.as_str()),
            ("films", "lab/one", "us-east-1")
        );
        let more = [KEYS[0], KEYS[1], ("aws_region", "eu-1"), ("aws_endpoint_url", "http://127.0.0.1:9000")];
        let found = read("s3://films", &more).unwrap();
        assert_eq!((found.prefix.as_str(), found.region.as_str()), ("", "eu-1"));
        assert_eq!(found.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for wrong in ["http://films", "s3://", "s3:///x", "s3://films/../x", "s3://fi lms", "films"] {
            assert!(read(wrong, &KEYS).unwrap_err().message.contains("must be s3://"), "{wrong}");
        }
        assert!(read("s3://films", &KEYS[..1]).unwrap_err().message.contains("AWS_SECRET_ACCESS_KEY"));
        let wrong = [KEYS[0], KEYS[1], ("aws_endpoint_url", "127.0.0.1:9000")];
        assert!(read("s3://films", &wrong).unwrap_err().message.contains("AWS_ENDPOINT_URL"));
    }
}
