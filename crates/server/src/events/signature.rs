//! Signatures of webhooks, by the Standard Webhooks specification: HMAC-SHA256 over id, time of the attempt and body,
//! so that a receiver knows who calls and that the call is not an old one repeated by somebody else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vitascope_model::event::WebhookSecret;
use vitascope_model::id::EventId;
use vitascope_model::{Error, Result, WallTime};

/// How a secret begins; base64 follows.
const PREFIX: &str = "whsec_";

/// The secret that these bytes are.
pub fn secret_of(key: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(key))
}

/// The three headers of an attempt. While two secrets are good there are two signatures, and a receiver needs only one of them.
pub(super) fn headers(
    secret: &WebhookSecret,
    id: &EventId,
    now: WallTime,
    body: &str,
) -> Result<[(&'static str, String); 3]> {
    let seconds = now.0 / vitascope_model::time::SECOND;
    let signed = format!("{id}.{seconds}.{body}");
    let signatures = secret.good_at(now).map(|secret| sign(secret, &signed)).collect::<Result<Vec<_>>>()?;
    Ok([
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ])
}

fn sign(secret: &str, text: &str) -> Result<String> {
    let key = secret.strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok());
    let key = key.ok_or_else(|| Error::internal("the webhook secret is not base64"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_specification_s_example() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let text = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(sign(secret, text).unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_new_secret_leaves_the_old_one_good_for_a_while() {
        let id = EventId::mint(WallTime(0), [1; 10]);
        let secret =
            WebhookSecret { secret: secret_of(b"new"), previous: Some((secret_of(b"old"), WallTime(5_000_000))) };
        let signatures = |at| headers(&secret, &id, WallTime(at), "{}").unwrap()[2].1.split(' ').count();
        assert_eq!((signatures(4_999_999), signatures(5_000_000)), (2, 1));
    }
}
