//! Random addresses of Nodes, as far as Kubernetes permits them. It validates only that no entry of
//! `status.addresses` is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testkit::random::Random;
use testkit::strategies::{Address, DNS_TYPES, IP_TYPES, address};

const DOMAINS: [&str; 6] = [
    "example",
    "corp.example",
    "eu-west-1.compute.internal",
    "lan",
    "node-pool-7.test",
    "xn--bcher-kva.example",
];
const TOPS: [&str; 3] = ["example", "internal", "net"];
/// Maximum lengths of a label and of a name (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;
const LONGEST: usize = 253;

/// Returns a node name and its addresses.
pub fn node(random: &mut Random) -> (String, Vec<Address>) {
    let name = node_name(random);
    let mut made = Made::default();
    let hostname = match random.below(8) {
        0 => ip_text(&mut made.spelt, random),
        1 => dns_name(random),
        2 => respelt(&name, random),
        _ => name.clone(),
    };
    if !random.once_in(16) {
        made.add("Hostname", hostname);
    }
    // Mostly few addresses, as of real nodes. One in eight has dozens.
    let (ips, names) = if random.once_in(8) {
        (random.below(32), random.below(24))
    } else {
        (random.below(5), random.below(4))
    };
    for _ in 0..ips {
        let text = ip_text(&mut made.spelt, random);
        made.add(random.pick(&IP_TYPES), text);
    }
    for _ in 0..names {
        let text = match random.below(3) {
            0 => respelt(&name, random),
            1 => format!("{name}.{}", random.pick(&DOMAINS)),
            _ => dns_name(random),
        };
        if text.len() <= LONGEST {
            made.add(random.pick(&DNS_TYPES), text);
        }
    }
    made.again(random);
    made.ignored(random);
    let mut addresses = made.addresses;
    for last in (1..addresses.len()).rev() {
        addresses.swap(last, random.below(last + 1));
    }
    (name, addresses)
}

#[derive(Default)]
struct Made {
    addresses: Vec<Address>,
    seen: BTreeSet<Address>,
    spelt: BTreeMap<IpAddr, String>,
}

impl Made {
    fn add(&mut self, kind: &str, text: String) {
        let address = address(kind, &text);
        if self.seen.insert(address.clone()) {
            self.addresses.push(address);
        }
    }

    /// Adds an address of a type that the kubelet does not request.
    fn ignored(&mut self, random: &mut Random) {
        match random.below(12) {
            0 => self.add("InternalIP", "not-an-address".into()),
            1 => self.add("ExternalIP", String::new()),
            2 => self.add("Mystery", "mystery.example".into()),
            3 => self.add("InternalIP", "10.0.0.1%eth0".into()),
            _ => {}
        }
    }

    /// Adds an existing address under another type. The kubelet requests it once.
    fn again(&mut self, random: &mut Random) {
        let before = self.addresses.clone();
        for (kind, text) in before.iter().flatten() {
            let kinds = match kind.as_str() {
                "InternalIP" | "ExternalIP" => &IP_TYPES,
                "InternalDNS" | "ExternalDNS" => &DNS_TYPES,
                _ => continue,
            };
            if random.once_in(6) {
                self.add(random.pick(kinds), text.clone());
            }
        }
    }
}

/// Returns a DNS-1123 subdomain, as required for the name of a Node.
fn node_name(random: &mut Random) -> String {
    match random.below(8) {
        0 => ipv4(random).to_string().replace('.', "-"),
        1 => random.below(100_000).to_string(),
        2 => dns_name(random).to_lowercase().trim_matches('.').to_owned(),
        3 => {
            let ip = ipv4(random).to_string().replace('.', "-");
            format!("ip-{ip}.{}", random.pick(&DOMAINS))
        }
        4 => longest(random),
        _ => format!("node-{}", random.below(1000)),
    }
}

/// Returns a host name outside of the cluster's domains.
fn dns_name(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(4) {
        text.push_str(&label(1 + random.below(12), random));
        text.push('.');
    }
    text.push_str(random.pick(&TOPS));
    respelt(&text, random)
}

/// Returns a name with as many and as long labels as possible.
fn longest(random: &mut Random) -> String {
    let mut text = label(LONGEST - 3 * (LONGEST_LABEL + 1), random);
    for _ in 0..3 {
        text.push('.');
        text.push_str(&label(LONGEST_LABEL, random));
    }
    text
}

/// Returns a label of letters, digits and inner hyphens, with at least one letter.
fn label(length: usize, random: &mut Random) -> String {
    const INNER: &[u8; 37] = b"-abcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |from: usize, random: &mut Random| {
        let at = from + random.below(INNER.len() - from);
        char::from(INNER[at])
    };
    let mut text = String::from(char::from(b'a' + random.byte() % 26));
    while text.len() + 1 < length {
        text.push(letter(0, random));
    }
    if text.len() < length {
        text.push(letter(1, random));
    }
    text
}

/// Returns the same name with capitals or with a trailing dot.
fn respelt(name: &str, random: &mut Random) -> String {
    let mut text = match random.below(4) {
        0 => name.to_uppercase(),
        1 => {
            let mut letters = name.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
        _ => name.to_owned(),
    };
    if random.once_in(4) && !text.ends_with('.') {
        text.push('.');
    }
    text
}

/// Returns an IP address that a node may have, as text.
fn ip_text(spelt: &mut BTreeMap<IpAddr, String>, random: &mut Random) -> String {
    let ip = match random.below(3) {
        0 => IpAddr::V6(ipv6(random)),
        _ => IpAddr::V4(ipv4(random)),
    };
    let text = match (ip, random.below(8)) {
        (IpAddr::V4(v4), 0) => v4.to_ipv6_mapped().to_string(),
        (IpAddr::V4(v4), 1) => {
            let [a, b, c, d] = v4.octets();
            format!("{a:03}.{b:02}.{c}.{d:03}")
        }
        (IpAddr::V6(v6), 0) => v6.to_string().to_uppercase(),
        (IpAddr::V6(v6), 1) => {
            let groups = v6.segments().map(|group| format!("{group:04x}"));
            groups.join(":")
        }
        (ip, _) => ip.to_string(),
    };
    // The kubelet requests an address in two spellings twice, and a repeated name is rejected.
    spelt.entry(ip).or_insert(text).clone()
}

fn ipv4(random: &mut Random) -> Ipv4Addr {
    let [b, c, d] = [random.byte(), random.byte(), 1 + random.byte() % 99];
    match random.below(5) {
        0 => Ipv4Addr::new(10, b % 64, c, d),
        1 => Ipv4Addr::new(172, 16 + b % 16, c, d),
        2 => Ipv4Addr::new(192, 168, c, d),
        3 => Ipv4Addr::new(100, 64 + b % 32, c, d),
        _ => Ipv4Addr::new(203, 0, c, d),
    }
}

fn ipv6(random: &mut Random) -> Ipv6Addr {
    let first = [0xfd12, 0x2001, 0x2a01][random.below(3)];
    // Zeros too, which the text omits.
    let rest = [(); 7].map(|()| match random.below(3) {
        0 => 0,
        _ => random.number() as u16,
    });
    let [b, c, d, e, f, g, h] = rest;
    // Not 2001::/32, which is Teredo's.
    let b = if first == 0x2001 { b.max(1) } else { b };
    Ipv6Addr::new(first, b, c, d, e, f, g, h)
}
