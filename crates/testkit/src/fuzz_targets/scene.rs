//! A scene: a request and its cluster in lines of text. Lines survive most mutations, a failing scene
//! is readable, and it is easy to convert to a vector. Unknown lines are skipped.
//!
//! ```text
//! policy names
//! user system:node:node-1
//! group system:nodes
//! usage server auth
//! age 5
//! node node-1 3600 lost
//! address InternalIP 10.0.0.1
//! org system:nodes
//! cn system:node:node-1
//! dns node-1
//! ip 10.0.0.1
//! ```
//!
//! Bytes after the first empty line replace the last four lines. They are the content of
//! CertificationRequestInfo, without the key.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use jiff::SignedDuration;
use judge::csr::names::NodeName;
use judge::csr::{CsrObject, Fingerprint};
use judge::evidence::{Evidence, Fact, Source};
use judge::policy::Policy;

use super::request_info;
use super::{der_of, signing};
use crate::cluster::{NodeSpec, SourceSpec};
use crate::facts::{evidence, facts};
use crate::forge::Recipe;
use crate::forge::der::Node;
use crate::forge::octets::Octets;
use crate::forge::oid::oid;
use crate::now;
use crate::policies::BasePolicy;
use crate::vector::{SettledSpec, Vector};

/// Maximum age in a line, in seconds.
const MAX_AGE: u32 = 1_000_000;

/// A request, its cluster and its policy.
pub(super) struct Scene {
    /// Everything but the request.
    pub(super) vector: Vector,
    pub(super) policy: &'static Policy,
    /// The nodes for which a request with the key was approved earlier.
    pub(super) key_of: Vec<NodeName>,
    /// The signed request.
    pub(super) der: Vec<u8>,
}

/// The policies by their names in a scene. Without changes, `strict` never approves.
static POLICIES: LazyLock<[(&str, Policy); 4]> = LazyLock::new(|| {
    let names = serde_json::json!({"names": {"dnsOnly": "Allow", "incomplete": "Wait"}});
    let proof = serde_json::json!({"proof": {"ipAddresses": {"anyOf": []}, "nodeName": {"anyOf": []}, "dnsNames": {"anyOf": []}}});
    [
        ("default", BasePolicy::Default.with(None)),
        ("strict", BasePolicy::Strict.with(None)),
        ("names", BasePolicy::Default.with(Some(&names))),
        ("proof", BasePolicy::Strict.with(Some(&proof))),
    ]
});

impl Scene {
    pub(super) fn parse(data: &[u8]) -> Scene {
        let end = data.windows(2).position(|two| two == b"\n\n");
        let (lines, info) = match end {
            Some(end) => (&data[..end], Some(&data[end + 2..])),
            None => (data, None),
        };
        let mut scene = Scene {
            vector: empty_vector(),
            policy: &POLICIES[0].1,
            key_of: Vec::new(),
            der: Vec::new(),
        };
        let mut asked = Lines::default();
        for line in lines.split(|byte| *byte == b'\n') {
            let space = line.iter().position(|byte| *byte == b' ');
            let (word, value) = line.split_at(space.unwrap_or(line.len()));
            let value = value.get(1..).unwrap_or_default();
            let word = String::from_utf8_lossy(word);
            if !asked.read(&word, value) {
                // A line of the API object is text, so a mutated one is decoded lossily.
                let value = String::from_utf8_lossy(value);
                let _ = scene.read_cluster(&word, &value);
                let _ = scene.read_object(&word, &value);
            }
        }
        scene.der = match info {
            Some(info) => signing::signed(&signing::put_key(info)),
            None => signing::signed(&signing::put_key(&asked.info())),
        };
        scene
    }

    /// The API object.
    pub(super) fn object(&self) -> CsrObject {
        self.vector.object()
    }

    /// The evidence about the cluster.
    pub(super) fn evidence(&self) -> Evidence {
        self.evidence_with_keys_of(&self.key_of)
    }

    /// The same evidence, with the key approved for these nodes earlier.
    pub(super) fn evidence_with_keys_of(&self, nodes: &[NodeName]) -> Evidence {
        self.evidence_of(&self.vector.nodes, nodes)
    }

    /// The same evidence with another Node in the same list.
    pub(super) fn evidence_beside(&self, other: NodeSpec) -> Evidence {
        let mut nodes = self.vector.nodes.clone();
        if nodes.iter().all(|node| node.name != other.name) {
            nodes.push(other);
        }
        self.evidence_of(&nodes, &self.key_of)
    }

    fn evidence_of(&self, cluster: &[NodeSpec], nodes: &[NodeName]) -> Evidence {
        let vector = &self.vector;
        let mut facts = facts(cluster, &vector.protected, &[], &vector.sources);
        let key = Fingerprint::of(&signing::SPKI);
        facts.extend(
            nodes
                .iter()
                .map(|node| (Fact::Key(key, node.clone()), now())),
        );
        evidence(facts, false, self.policy.spec.names.max)
    }

    fn read_object(&mut self, word: &str, value: &str) -> Option<()> {
        let requestor = &mut self.vector.requestor;
        let object = &mut self.vector.object;
        match word {
            "user" => value.clone_into(&mut requestor.username),
            "uid" => value.clone_into(&mut requestor.uid),
            "group" => requestor.groups.push(value.to_owned()),
            "credential" => requestor.credential_ids.push(value.to_owned()),
            "usage" => object.usages.push(value.to_owned()),
            "signer" => value.clone_into(&mut object.signer),
            "expires" => object.expiration_seconds = Some(value.parse().ok()?),
            "age" => object.age = age(value)?,
            "terminating" => object.terminating = true,
            "settled" => {
                object.settled = Some(match value {
                    "Approved" => SettledSpec::Approved,
                    "Denied" => SettledSpec::Denied,
                    "Failed" => SettledSpec::Failed,
                    "Issued" => SettledSpec::Issued,
                    _ => return None,
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn read_cluster(&mut self, word: &str, value: &str) -> Option<()> {
        let nodes = &mut self.vector.nodes;
        match word {
            "policy" => self.policy = &POLICIES.iter().find(|(name, _)| *name == value)?.1,
            "key" => self.key_of.push(NodeName::parse(value)?),
            "unsynced" => {
                let source = Source::ALL.into_iter().find(|s| s.as_str() == value)?;
                let never = SourceSpec {
                    synced: false,
                    failing: None,
                };
                self.vector
                    .sources
                    .insert(source.as_str().to_owned(), never);
            }
            "node" => nodes.push(node(value, nodes)?),
            "address" => {
                let (kind, address) = value.split_once(' ')?;
                let address = BTreeMap::from([(kind.to_owned(), address.to_owned())]);
                nodes.last_mut()?.addresses.push(address);
            }
            "pods" => nodes.last_mut()?.pod_cidrs.push(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

fn age(text: &str) -> Option<SignedDuration> {
    let seconds: u32 = text.parse().ok()?;
    Some(SignedDuration::from_secs(seconds.min(MAX_AGE).into()))
}

/// A Node from its name, its age and its flags.
fn node(text: &str, others: &[NodeSpec]) -> Option<NodeSpec> {
    let mut words = text.split(' ');
    let name = NodeName::parse(words.next()?)?.as_str().to_owned();
    if others.iter().any(|other| other.name == name) {
        return None;
    }
    let mut node = NodeSpec {
        name,
        age: age(words.next()?)?,
        addresses: Vec::new(),
        ..NodeSpec::default()
    };
    for word in words {
        match word {
            "terminating" => node.terminating = true,
            "lost" => node.lost = true,
            "control-plane" => node.control_plane = true,
            "uninitialized" => node.uninitialized = true,
            "fresh" => node.stable = Some(SignedDuration::ZERO),
            _ => {}
        }
    }
    Some(node)
}

/// An empty request without a requestor, in a cluster without Nodes.
fn empty_vector() -> Vector {
    let mut vector = Vector::genuine();
    vector.nodes.clear();
    vector.requestor.username.clear();
    vector.requestor.groups.clear();
    vector.requestor.credential_ids.clear();
    vector.object.usages.clear();
    vector
}

/// The content of the lines that describe the request.
#[derive(Default)]
struct Lines {
    subject: Vec<Node>,
    names: Vec<Node>,
}

impl Lines {
    fn read(&mut self, word: &str, value: &[u8]) -> bool {
        match word {
            "org" => self.subject.push(rdn("O", value)),
            "cn" => self.subject.push(rdn("CN", value)),
            "dns" => self.names.push(Node::primitive(0x82, value)),
            "ip" => self.names.push(Node::primitive(0x87, ip_octets(value))),
            "uri" => self.names.push(Node::primitive(0x86, value)),
            _ => return false,
        }
        true
    }

    /// The content of CertificationRequestInfo, without the key.
    fn info(self) -> Vec<u8> {
        let names = Node::octet_string(vec![Node::sequence(self.names)]);
        let san = Node::sequence(vec![oid("subjectAltName").node(), names]);
        let values = Node::constructed(0x31, vec![Node::sequence(vec![san])]);
        let attribute = Node::sequence(vec![oid("extensionRequest").node(), values]);
        [
            Node::unsigned(&[0]),
            Node::sequence(self.subject),
            Node::constructed(0xa0, vec![attribute]),
        ]
        .map(|element| element.tlv())
        .concat()
    }
}

fn rdn(attribute: &str, value: &[u8]) -> Node {
    let value = Node::primitive(0x13, value);
    let attribute = Node::sequence(vec![oid(attribute).node(), value]);
    Node::constructed(0x31, vec![attribute])
}

/// The octets of an address, or the bytes of any other text.
fn ip_octets(value: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(value).ok();
    match text.and_then(|text| text.parse().ok()) {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
        None => value.to_vec(),
    }
}

/// Converts a vector to a scene with this policy, without fields that only vectors have. Returns `None`
/// for a vector with an order of watch events or a Node of the future, which a scene cannot have.
pub(super) fn write(vector: &Vector, policy: &str) -> Option<Vec<u8>> {
    let mut nodes = vector.nodes.iter().chain(&vector.others);
    if vector.has_seen_order() || nodes.any(|node| node.age.is_negative()) {
        return None;
    }
    let mut lines = vec![format!("policy {policy}")];
    write_object(vector, &mut lines);
    for node in vector.nodes.iter().chain(&vector.others) {
        write_node(node, &mut lines);
    }
    lines.extend(vector.keys.iter().map(|key| format!("key {}", key.node)));
    let unread = vector.sources.iter().filter(|(_, source)| !source.synced);
    lines.extend(unread.map(|(name, _)| format!("unsynced {name}")));
    let mut scene = lines.join("\n").into_bytes();
    let asked = as_lines(&vector.request);
    match &asked {
        Some(asked) => scene.extend([b"\n", asked.as_slice()].concat()),
        None => {
            let info = request_info::info(&der_of(&vector.request));
            scene.extend([b"\n\n", signing::without_key(&info)?.as_slice()].concat());
        }
    }
    Some(scene)
}

fn write_object(vector: &Vector, lines: &mut Vec<String>) {
    let (requestor, object) = (&vector.requestor, &vector.object);
    let mut line =
        |word: &str, value: &dyn std::fmt::Display| lines.push(format!("{word} {value}"));
    line("user", &requestor.username);
    if !requestor.uid.is_empty() {
        line("uid", &requestor.uid);
    }
    requestor.groups.iter().for_each(|g| line("group", g));
    let ids = &requestor.credential_ids;
    ids.iter().for_each(|id| line("credential", id));
    line("signer", &object.signer);
    object.usages.iter().for_each(|u| line("usage", u));
    if let Some(seconds) = object.expiration_seconds {
        line("expires", &seconds);
    }
    line("age", &object.age.as_secs());
    if object.terminating {
        line("terminating", &"");
    }
    if let Some(settled) = object.settled {
        line("settled", &format!("{settled:?}"));
    }
}

fn write_node(node: &NodeSpec, lines: &mut Vec<String>) {
    let mut line = format!("node {} {}", node.name, node.age.as_secs());
    for (is_so, word) in [
        (node.terminating, " terminating"),
        (node.lost, " lost"),
        (node.control_plane, " control-plane"),
        (node.uninitialized, " uninitialized"),
        (node.stable.is_some(), " fresh"),
    ] {
        line.push_str(if is_so { word } else { "" });
    }
    lines.push(line);
    for (kind, address) in node.addresses.iter().flatten() {
        lines.push(format!("address {kind} {address}"));
    }
    let networks: &[IpNet] = &node.pod_cidrs;
    lines.extend(networks.iter().map(|network| format!("pods {network}")));
}

/// The lines that describe the recipe's request; `None` if lines cannot.
fn as_lines(recipe: &Recipe) -> Option<Vec<u8>> {
    let own = [Octets::from(&format!("system:node:{}", recipe.node))];
    let cn = recipe.cn.as_deref().unwrap_or(&own);
    let org = recipe.org.iter().map(|value| ("org", value.0.clone()));
    let cn = cn.iter().map(|value| ("cn", value.0.clone()));
    let dns = recipe.dns.iter().map(|name| ("dns", name.0.clone()));
    let ip = recipe.ip.iter().map(|ip| ("ip", ip_text(&ip.0)));
    let lines: Vec<_> = org.chain(cn).chain(dns).chain(ip).collect();
    let asked = lines.iter().fold(Lines::default(), |mut asked, line| {
        asked.read(line.0, &line.1);
        asked
    });
    let is_same = Some(asked.info()) == signing::without_key(&request_info::info(&der_of(recipe)));
    let is_text = lines.iter().all(|(_, value)| !value.contains(&b'\n'));
    let joined = |(word, value): &(&str, Vec<u8>)| [word.as_bytes(), b" ", value, b"\n"].concat();
    (is_same && is_text).then(|| lines.iter().flat_map(joined).collect())
}

fn ip_text(octets: &[u8]) -> Vec<u8> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    match four.or(sixteen) {
        Ok(ip) => ip.to_string().into_bytes(),
        Err(_) => octets.to_vec(),
    }
}
