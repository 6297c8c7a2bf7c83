//! Randomness from the operating system: for ids, keys, tokens and publish paths.

/// Random bytes. Without a source of randomness nothing here can be safe, so its absence ends the process.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).expect("the operating system gives random bytes");
    out
}

/// An unguessable name of 32 hex digits (128 bits).
pub fn secret_name() -> String {
    hex(&bytes::<16>())
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        write!(out, "{b:02x}").expect("writing to a string succeeds");
        out
    })
}

/// SHA-256 as hex: how keys and tokens are stored. They are long random strings, so a slow hash would add nothing.
pub fn digest(secret: &str) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(secret.as_bytes()))
}
