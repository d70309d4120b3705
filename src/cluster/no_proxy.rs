//! `NO_PROXY`: the servers that are reached without the proxy of the environment, by the rules of Go's
//! `golang.org/x/net/http/httpproxy`.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use ipnet::IpNet;

use super::proxy::{HTTP_PORT, HTTPS_PORT};

/// Returns true if this `NO_PROXY` excludes the server. This machine is always excluded.
pub(super) fn is_excluded(no_proxy: &str, server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().to_ascii_lowercase();
    let host = without_brackets(&host);
    let port = server.port_u16().unwrap_or_else(|| {
        if server.scheme() == Some(&Scheme::HTTP) {
            HTTP_PORT
        } else {
            HTTPS_PORT
        }
    });
    let ip: Option<IpAddr> = host.parse().ok();
    // Go compares IPv4-mapped addresses as IPv4.
    let ip = ip.map(|ip| ip.to_canonical());
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let mut entries = no_proxy
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase());
    entries.any(|entry| matches_entry(&entry, host, ip, port))
}

fn matches_entry(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(network) = entry.parse::<IpNet>() {
        return ip.is_some_and(|ip| network.contains(&ip));
    }
    let (entry, expected) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port),
        Some(_) | None => (entry, ""),
    };
    if !expected.is_empty() && expected.parse() != Ok(port) {
        return false;
    }
    let entry = without_brackets(entry);
    if let Ok(expected) = entry.parse::<IpAddr>() {
        return ip == Some(expected.to_canonical());
    }
    if ip.is_some() || entry.is_empty() {
        return false;
    }
    let below = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
    // A URL has a name in another script as ASCII only.
    let ascii = idna::domain_to_ascii(below.unwrap_or(entry));
    let domain = ascii.as_deref().unwrap_or(below.unwrap_or(entry));
    match host.strip_suffix(domain) {
        Some("") => below.is_none(),
        Some(before) => before.ends_with('.'),
        None => false,
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `NO_PROXY` in the tests of golang.org/x/net/http/httpproxy.
    const GO: &str = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, \
        10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";

    /// Rows of these tests, and ports.
    #[test]
    fn no_proxy_excludes_what_it_excludes_in_kubectl() {
        for (no_proxy, excluded, others) in [
            (
                "",
                vec!["localhost", "127.0.0.1", "[::1]"],
                vec!["10.0.0.1", "localhost.example"],
            ),
            (
                "192.0.2.10",
                vec!["192.0.2.10:6443"],
                vec!["192.0.2.11", "a.192.0.2.10"],
            ),
            (
                "192.0.2.10:6443",
                vec!["192.0.2.10:6443"],
                vec!["192.0.2.10"],
            ),
            (
                "[2001:db8::1]:6443",
                vec!["[2001:db8::1]:6443"],
                vec!["[2001:db8::1]"],
            ),
            (
                "2001:db8::1",
                vec!["[2001:DB8:0::1]:6443"],
                vec!["[2001:db8::2]"],
            ),
            (
                "10.0.0.0/8, fd00::/8",
                vec!["10.9.8.7", "[fd00::1]"],
                vec!["11.0.0.1", "[fe80::1]"],
            ),
            (
                "example.com",
                vec!["example.com", "API.example.com"],
                vec!["anexample.com"],
            ),
            (
                ".example.com",
                vec!["a.example.com", "a.b.example.com"],
                vec!["example.com"],
            ),
            ("*.example.com", vec!["a.example.com"], vec!["example.com"]),
            (
                "a.example:443,b.example:8443",
                vec!["a.example", "b.example:8443"],
                vec!["b.example"],
            ),
            ("a.example:", vec!["a.example:6443"], vec!["b.example"]),
            (" , x.example ,,*", vec!["192.0.2.10", "a.example"], vec![]),
            (
                "*example.com,:443,a.example:x",
                vec![],
                vec!["a.example.com", "a.example"],
            ),
            (
                "示例.com,.例子.com",
                vec![
                    "www.xn--fsq092h.com",
                    "xn--fsq092h.com",
                    "a.xn--fsqu00a.com",
                ],
                vec!["xn--fsqu00a.com", "example.com"],
            ),
            (
                "10.0.0.0/8,192.0.2.1,::ffff:192.0.2.2",
                vec!["[::ffff:10.0.0.1]", "[::ffff:192.0.2.1]", "192.0.2.2"],
                vec!["[::ffff:192.0.2.3]", "[::a00:1]"],
            ),
            (
                "ample.com,example.com",
                vec!["foo.example.com"],
                vec!["sample.com", "[1000::1]:123"],
            ),
            // The table of `TestUseProxy`, for servers at port 80.
            (
                GO,
                vec![
                    "localhost:80",
                    "127.0.0.1:80",
                    "127.0.0.2:80",
                    "[::1]:80",
                    "192.168.1.1:80",
                    "192.168.1.3:80",
                    "10.0.0.2:80",
                    "[2001:db8::52:0:1]:80",
                    "[2001:db8::52:0:3]:80",
                    "[2002:db8:a::123]:80",
                    "www.barbaz.net:80",
                    "foobar.com:80",
                    "www.foobar.com:80",
                    "nested.wildcard.io:80",
                ],
                vec![
                    "[::2]:80",
                    "192.168.1.2:80",
                    "192.168.1.4:80",
                    "[2001:db8::52:0:2]:80",
                    "[fe80::424b:c8be:1643:a1b6]:80",
                    "barbaz.net:80",
                    "foofoobar.com:80",
                    "baz.com:80",
                    "localhost.net:80",
                    "local.localhost:80",
                    "barbarbaz.net:80",
                    "wildcard.io:80",
                    "awildcard.io:80",
                ],
            ),
        ] {
            for (servers, expected) in [(excluded, true), (others, false)] {
                for server in servers {
                    let url = format!("https://{server}").parse().unwrap();
                    assert_eq!(
                        is_excluded(no_proxy, &url),
                        expected,
                        "{no_proxy:?}: {server}"
                    );
                }
            }
        }
    }
}
