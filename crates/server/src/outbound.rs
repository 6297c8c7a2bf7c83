//! The one client for strangers' URLs. Every address is checked after its name was resolved, so a name that points inward is no way round;
//! redirects are not followed; what is read back is bounded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use vitascope_model::error::Context;
use vitascope_model::event::Attempt;
use vitascope_model::{Error, Result};

use crate::config::Config;

/// Receivers call back into us before they answer, some for ten seconds a stream.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Outbound {
    client: reqwest::Client,
    reach: Reach,
}

/// Which addresses callbacks may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    private: bool,
    /// Loopback alone: when only this machine can reach the server, its apps live on this machine.
    loopback: bool,
}

impl Reach {
    fn of(config: &Config) -> Reach {
        Reach { private: config.allow_private_urls, loopback: config.is_local_only() }
    }

    fn allows(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.private || is_public(ip) || (self.loopback && ip.is_loopback())
    }
}

impl Outbound {
    pub fn new(config: &Config) -> Result<Outbound> {
        // The provider may have been installed before, by another server in the same process (tests).
        let _installed_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let reach = Reach::of(config);
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(CheckedResolver(reach)))
            .no_proxy()
            .build()
            .internal("make the HTTP client")?;
        Ok(Outbound { client, reach })
    }

    /// What is wrong with a callback URL, if anything, before it is promised to be called.
    pub fn check(&self, url: &str) -> Result<()> {
        let parsed = url::Url::parse(url).invalid("callback_url is not a URL")?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error::invalid("callback_url must be http or https"));
        }
        let ip = match parsed.host() {
            Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(url::Host::Domain(_)) => None,
            None => return Err(Error::invalid("callback_url has no host")),
        };
        if ip.is_some_and(|ip| !self.reach.allows(ip)) {
            return Err(refused());
        }
        Ok(())
    }

    /// Posts JSON text; any 2xx is success.
    pub async fn post_callback(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Attempt {
        if let Err(error) = self.check(url) {
            return Attempt { response_code: None, error: Some(error) };
        }
        let mut request = self.client.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await.map(|response| response.status()) {
            Ok(status) => {
                let refused = || Error::unavailable(format!("the callback was answered with {status}"));
                let error = (!status.is_success()).then(refused);
                Attempt { response_code: Some(status.as_u16()), error }
            }
            Err(error) => {
                let why = if error.is_timeout() {
                    format!("the callback did not answer within {} s", TIMEOUT.as_secs())
                } else {
                    "the callback could not be reached".to_owned()
                };
                Attempt { response_code: None, error: Some(Error::unavailable(why).because(error)) }
            }
        }
    }
}

fn refused() -> Error {
    Error::invalid("callback_url points at a private address; VITASCOPE_ALLOW_PRIVATE_URLS=true permits it")
}

/// Resolves as the system does, then drops every address that may not be reached.
struct CheckedResolver(Reach);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| reach.allows(a.ip())).collect();
            if allowed.is_empty() {
                return Err(refused().into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.is_documentation()
                || ip.is_multicast() || ip.is_unspecified()
                || a == 0 || a >= 240
                || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
                || (a == 198 && (b == 18 || b == 19)) // benchmarking, RFC 2544
                || (a == 192 && b == 0))
        }
        IpAddr::V6(ip) => {
            let head = ip.segments()[0];
            // Only global unicast, without the documentation and translation prefixes.
            (head & 0xe000) == 0x2000 && !(head == 0x2001 && ip.segments()[1] == 0xdb8) && head != 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(private: bool, loopback: bool, ip: &str) -> bool {
        Reach { private, loopback }.allows(ip.parse().unwrap())
    }

    #[test]
    fn strangers_urls_do_not_reach_inward() {
        let inward = [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
        ];
        for ip in inward {
            assert!(!allows(false, false, ip), "{ip}");
        }
        for ip in ["8.8.8.8", "2606:4700::1111"] {
            assert!(allows(false, false, ip), "{ip}");
        }
    }

    #[test]
    fn a_server_for_this_machine_alone_may_call_back_to_it_and_no_further() {
        assert!(
            allows(false, true, "127.0.0.1") && allows(false, true, "::1") && allows(false, true, "::ffff:127.0.0.1")
        );
        assert!(!allows(false, true, "10.0.0.1"));
        assert!(allows(true, false, "10.0.0.1"));
    }
}
