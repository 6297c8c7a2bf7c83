//! Which addresses strangers' URLs may lead to. A URL is checked before it is used, and every address again after its name was resolved,
//! in the same step that connects: a name that points inward, or does so the second time, is no way round.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};
use vitascope_model::{Error, Result};

use crate::config::Config;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    private: bool,
    /// Loopback alone.
    loopback: bool,
}

impl Reach {
    #[cfg(test)]
    pub(super) const LOOPBACK: Reach = Reach { private: false, loopback: true };

    /// Callbacks: when only this machine can reach the server, its apps live on this machine.
    pub(super) fn of_callbacks(config: &Config) -> Reach {
        Reach { private: config.allow_private_urls, loopback: config.is_local_only() }
    }

    /// What is fetched: what it says is given back, so loopback is as closed as any private network.
    pub(super) fn of_sources(config: &Config) -> Reach {
        Reach { private: config.allow_private_urls, loopback: false }
    }

    fn allows(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.private || is_public(ip) || (self.loopback && ip.is_loopback())
    }

    /// What is wrong with a URL, if anything. `what` names it for people. A name is not resolved here.
    pub(super) fn check(self, what: &str, url: &str) -> Result<Url> {
        let parsed = Url::parse(url).map_err(|_| Error::invalid(format!("{what} is not a URL")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error::invalid(format!("{what} must be http or https")));
        }
        // Numbers in any of their spellings (decimal, octal, hex, short) were made an address by the parser.
        let ip = match parsed.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return Err(Error::invalid(format!("{what} has no host"))),
        };
        if ip.is_some_and(|ip| !self.allows(ip)) { Err(refused(what)) } else { Ok(parsed) }
    }
}

pub(super) fn refused(what: &str) -> Error {
    Error::invalid(format!("{what} points at a private address; VITASCOPE_ALLOW_PRIVATE_URLS=true permits it"))
}

/// Resolves as the system does, then drops every address that may not be reached.
pub(super) struct CheckedResolver {
    pub(super) reach: Reach,
    /// What the URL is called for people.
    pub(super) what: &'static str,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, what) = (self.reach, self.what);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| reach.allows(a.ip())).collect();
            if allowed.is_empty() {
                return Err(refused(what).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.is_documentation()
                || ip.is_multicast() || ip.is_unspecified()
                || a == 0 || a >= 240
                || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
                || (a == 198 && (b == 18 || b == 19)) // benchmarking, RFC 2544
                || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
                || (a == 192 && b == 88 && c == 99)) // relays of 6to4, RFC 7526
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            // Only global unicast, without what is documentation or leads to IPv4 addresses inside (6to4, Teredo).
            let is_special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
            (a & 0xe000) == 0x2000 && !is_special
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
            "127.255.255.254",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "2001::7f00:1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ];
        for ip in inward {
            assert!(!allows(false, false, ip), "{ip}");
        }
        for ip in ["8.8.8.8", "192.0.78.24", "2606:4700::1111", "2001:4860:4860::8888"] {
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

    /// Spellings of addresses inside, and schemes that are none of ours. Names are the resolver's business.
    #[test]
    fn no_spelling_of_an_address_inside_is_a_way_round() {
        let reach = Reach { private: false, loopback: false };
        let hosts = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "0177.0.0.01",
            "0x7f000001",
            "0x7f.0.0.1",
            "0x7f.1",
            "0x7F.0x0.0x0.0x1",
            "127.0.0.1.",
            "127.0.0.01",
            "00.0.0.0",
            "0",
            "0.0.0.0",
            "%31%32%37.0.0.1",
            "１２７.０.０.１",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "127.127.127.127",
            "10.0.0.1",
            "012.0.0.1",
            "0xa.0.0.1",
            "167772161",
            "192.168.1.1",
            "3232235777",
            "172.16.0.1",
            "172.31.255.255",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
            "[fe80::1%25lo]",
            "[fe80::1%lo]",
            "[::1%25lo]",
            "[fd00::1]",
            "[fd00:ec2::254]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::]",
            "[ff02::1]",
            "8.8.8.8@127.0.0.1",
            "example.com:80@127.0.0.1",
            "a:b@[::1]",
            "example.com\\@127.0.0.1:80@127.0.0.1",
        ];
        // A backslash ends the host as a slash does, so the last one is example.com and no way in.
        for host in &hosts[..hosts.len() - 1] {
            assert!(reach.check("url", &format!("http://{host}/x")).is_err(), "{host}");
            assert!(reach.check("url", &format!("HTTPS://{host}:8080/x")).is_err(), "{host}");
        }
        let outside = reach.check("url", &format!("http://{}/x", hosts[hosts.len() - 1])).unwrap();
        assert_eq!(outside.host_str(), Some("example.com"));
        for url in [
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "ftp://127.0.0.1/",
            "data:text/plain,x",
            "dict://127.0.0.1/",
            "ldap://127.0.0.1/",
            "jar:http://127.0.0.1!/",
            "javascript:1",
            "unix:/run/x",
            "rtsp://127.0.0.1/",
            "//127.0.0.1/",
            "127.0.0.1",
            "",
            "http://",
            "http:///",
            "netdoc:///etc/passwd",
            "concat:a|b",
            "http://[::1",
            "http://a b/",
        ] {
            assert!(reach.check("url", url).is_err(), "{url}");
        }
    }
}
