//! A scene: a request, its requestor and the cluster. An approved name must belong to the node alone, by
//! checks that share no code with the rules.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use judge::csr::names::{NodeName, San};
use judge::csr::{KUBELET_SERVING_SIGNER, Request};
use judge::evidence::{Evidence, Fact, Source, reserved_kind};
use judge::finding::{Awaited, Effect};
use judge::policy::Requirement;
use judge::{Approval, Decision, Judgment, Verdict};

use super::kubelet_request::{self, KubeletRequest, canonical_dns};
use super::request_info;
use super::scene::{self, Scene};
use crate::cluster::{NodeSpec, ProtectedKind, before_now};
use crate::forge::pem::PemRecipe;
use crate::now;
use crate::policies::BasePolicy;
use crate::random::Random;
use crate::vector::Vector;

/// Checks any scene, with a request that is signed by the key in it.
pub fn check(data: &[u8]) {
    judged(data);
}

/// The whole judgment of a scene, without checks.
pub fn judgment(data: &[u8]) -> Judgment {
    let scene = Scene::parse(data);
    let text = PemRecipe::default().text(&scene.der);
    let request = Request::read(scene.object(), text.as_bytes());
    judge::judge(&request, scene.policy, &scene.evidence(), now())
}

/// Checks a scene and returns the decision.
pub fn judged(data: &[u8]) -> Decision {
    let scene = Scene::parse(data);
    let text = PemRecipe::default().text(&scene.der);
    let request = Request::read(scene.object(), text.as_bytes());
    let evidence = scene.evidence();
    let judged = judge::judge(&request, scene.policy, &evidence, now());
    let again = judge::judge(&request, scene.policy, &scene.evidence(), now());
    assert_eq!(judged, again, "judged otherwise the second time");
    let worst = judged.findings.effect();
    match &judged.verdict {
        Verdict::Approve(approval) => {
            assert_eq!(worst, None);
            check_approval(&scene, approval);
            check_less_proof_is_not_approved(&scene, &request);
        }
        Verdict::Deny(_) => assert_eq!(worst, Some(Effect::Deny)),
        Verdict::Wait(awaited) => {
            assert!(!awaited.is_empty(), "waits for nothing");
            assert!(worst.is_none_or(|worst| worst == Effect::Wait));
            check_rival_is_not_approved(&scene, &request);
        }
        Verdict::Ignore => assert_eq!(worst, Some(Effect::Ignore)),
    }
    judged.verdict.decision()
}

fn check_approval(scene: &Scene, approval: &Approval) {
    let object = scene.object();
    assert_eq!(approval.name(), object.name);
    assert_eq!(approval.uid(), &*object.uid);
    assert_eq!(approval.resource_version(), object.resource_version);
    assert!(object.settled.is_none() && !object.terminating);
    assert_eq!(&*object.signer, KUBELET_SERVING_SIGNER);
    let spec = &scene.policy.spec;
    assert!(now().duration_since(object.created) <= spec.request.max_age);
    let life = object.expiration_seconds.unwrap_or(0);
    assert!(i64::from(life) <= spec.request.max_expiration.as_secs());

    let requestor = &object.requestor;
    let groups = BTreeSet::from_iter(requestor.groups.iter().map(String::as_str));
    let expected = BTreeSet::from(["system:nodes", "system:authenticated"]);
    assert_eq!(groups, expected);
    let mut usages = object.usages.to_vec();
    usages.sort_unstable();
    usages.retain(|usage| usage != "key encipherment");
    assert_eq!(usages, ["digital signature", "server auth"]);
    assert!(object.usages.len() <= 3, "{:?}", object.usages);
    if spec.requestor.credential_id == Requirement::Required {
        let ids = &requestor.credential_ids;
        assert!(!ids.is_empty() && ids.iter().all(|id| id.starts_with("X509SHA256=")));
        assert_eq!(requestor.uid, "");
    }

    let asked = kubelet_request::parse(&scene.der).expect("approved, but not of a kubelet's shape");
    assert_eq!(asked.common_name, &*requestor.username);
    assert_eq!(asked.organization, "system:nodes");
    let (own, others): (Vec<_>, Vec<_>) = scene
        .vector
        .nodes
        .iter()
        .partition(|node| format!("system:node:{}", node.name) == *requestor.username);
    let [own] = own.as_slice() else {
        panic!("approved for {} without a Node", requestor.username);
    };
    assert!(!own.terminating && !own.uninitialized);
    let younger_by = before_now(own.age).duration_since(object.created);
    assert!(younger_by.as_secs() < 60, "the Node is younger");
    assert!(scene.key_of.iter().take(1).all(|n| n.as_str() == own.name));
    check_names_belong_to_node(scene, own, &others, &asked);
    check_names_are_not_protected(scene, own, &asked);
}

/// All Nodes of a scene come from one list, so their claims have equal rank, and no kubelet presents a
/// certificate.
fn check_names_belong_to_node(
    scene: &Scene,
    own: &NodeSpec,
    others: &[&NodeSpec],
    asked: &KubeletRequest<'_>,
) {
    let claimed = claims(own);
    let own_name = format!("DNS:{}", own.name);
    let protected = |name: &str| {
        let mut sans = scene.vector.protected.iter().flat_map(|part| &part.sans);
        sans.any(|san| name.split_once(':').is_some_and(|(_, value)| value == san))
    };
    for name in asked.distinct() {
        assert!(claimed.contains(name), "{name} is not among {claimed:?}");
        for other in others {
            // Only control-plane nodes can have what is the API server's, and none but the one in its
            // certificate, if that has a Node's name.
            let may_have = !protected(name) || other.control_plane && !protected(&own_name);
            let is_claimed = *name != own_name && may_have && claims(other).contains(name);
            assert!(!is_claimed, "{name} is claimed by {} too", other.name);
            let is_named_so = name.strip_prefix("DNS:") == Some(&other.name);
            assert!(!is_named_so, "{name} is another Node");
        }
    }
}

fn check_names_are_not_protected(scene: &Scene, own: &NodeSpec, asked: &KubeletRequest<'_>) {
    let is_within = |name: &str, domain: &str| {
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    for name in asked.distinct() {
        let (kind, value) = name.split_once(':').unwrap();
        if kind == "DNS" {
            for domain in ["svc", "localhost", "svc.cluster.local", "pod.cluster.local"] {
                assert!(!is_within(value, domain), "{name} is in {domain}");
            }
            let is_of_domain = is_within(value, "cluster.local");
            assert!(
                !is_of_domain || value == own.name,
                "{name} is in cluster.local"
            );
            assert!(value != "kubernetes" && !value.ends_with(".kube-system"));
        }
        let ip: Option<IpAddr> = (kind == "IP").then(|| value.parse().unwrap());
        for part in &scene.vector.protected {
            let listed = part.sans.iter().any(|san| san == value);
            assert!(!listed || own.control_plane, "{name} of {}", part.origin);
            let networks = part.networks.iter();
            let covered = networks.filter(|network| ip.is_some_and(|ip| network.contains(&ip)));
            assert_eq!(covered.count(), 0, "{name} of {}", part.origin);
        }
        let Some(ip) = ip else { continue };
        assert_eq!(reserved_kind(ip), None, "{name}");
        // No network of pods has an API server in it.
        let endpoints: Vec<IpAddr> = endpoints(scene).collect();
        let has_endpoint = |network: &IpNet| endpoints.iter().any(|ip| network.contains(ip));
        for node in &scene.vector.nodes {
            let pods = node.pod_cidrs.iter().filter(|network| {
                let least = if network.addr().is_ipv4() { 16 } else { 48 };
                let is_of_pods = network.prefix_len() >= least && !has_endpoint(network);
                is_of_pods && network.contains(&ip)
            });
            assert_eq!(pods.count(), 0, "{name} is of the pods of {}", node.name);
        }
    }
}

fn endpoints(scene: &Scene) -> impl Iterator<Item = IpAddr> {
    let parts = scene.vector.protected.iter();
    let endpoints = parts.filter(|part| part.kind == ProtectedKind::ApiServerEndpoint);
    endpoints.flat_map(|part| part.sans.iter().filter_map(|san| san.parse().ok()))
}

/// The SANs that a kubelet requests for its Node's addresses (Kubernetes
/// `pkg/kubelet/certificate/kubelet.go`, `addressesToHostnamesAndIPs`).
fn claims(node: &NodeSpec) -> BTreeSet<String> {
    let dns = |value: &str| canonical_dns(value.as_bytes());
    let claim = |(kind, value): (&String, &String)| match kind.as_str() {
        "Hostname" => ip(value).or_else(|| dns(value)),
        "InternalIP" | "ExternalIP" => ip(value),
        "InternalDNS" | "ExternalDNS" => dns(value),
        _ => None,
    };
    let addresses = node.addresses.iter().flatten();
    addresses.filter_map(claim).collect()
}

/// An address in any spelling that Go's `ParseIPSloppy` accepts.
fn ip(text: &str) -> Option<String> {
    let quad = || {
        let octets: Option<Vec<u8>> = text.split('.').map(decimal).collect();
        Some(IpAddr::from(<[u8; 4]>::try_from(octets?).ok()?))
    };
    let ip = text.parse::<IpAddr>().ok().or_else(quad)?;
    Some(format!("IP:{}", ip.to_canonical()))
}

fn decimal(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && (1..=16).contains(&text.len()))
        .then(|| text.parse::<u64>().ok())
        .flatten()
        .and_then(|number| number.try_into().ok())
}

/// Checks that the request is not approved without any part of the proof, or with another claim.
fn check_less_proof_is_not_approved(scene: &Scene, request: &Request) {
    let refused = |what: &str, less: &Evidence| {
        let judged = judge::judge(request, scene.policy, less, now());
        assert_ne!(judged.verdict.decision(), Decision::Approve, "{what}");
    };
    let with = |fact: Fact| {
        let mut evidence = scene.evidence();
        evidence.apply(fact, now());
        evidence
    };
    let node = request.object.requestor.node().unwrap();
    refused("without the Node", &with(Fact::NodeGone(node)));
    for source in Source::REQUIRED {
        let gone = Fact::Incomplete(source, "gone".to_owned());
        refused(source.as_str(), &with(gone));
    }
    let other = NodeName::parse("rival").unwrap();
    let stolen = scene.evidence_with_keys_of(&[other]);
    refused("with another node's key", &stolen);
    let content = request.content.as_ref().unwrap();
    let own_name = San::from_dns_text(request.object.requestor.node().unwrap().as_str());
    // The certificate at an endpoint can rule a rival out.
    let protected = &scene.vector.protected;
    let is_endpoint = |san: &San| {
        let mut endpoints = protected
            .iter()
            .filter(|spec| spec.kind == ProtectedKind::ApiServerEndpoint);
        endpoints.any(|spec| {
            spec.sans
                .iter()
                .any(|text| San::from_host_text(text).as_ref() == Some(san))
        })
    };
    let mut contestable = content.sans.iter().filter(|san| !is_endpoint(san));
    if contestable.any(|san| Some(san) != own_name.as_ref()) {
        refused("with a rival", &scene.evidence_beside(rival(scene)));
    }
    let strict = BasePolicy::Strict.with(None);
    let judged = judge::judge(request, &strict, &scene.evidence(), now());
    let decision = judged.verdict.decision();
    assert_ne!(decision, Decision::Approve, "without an independent source");
}

/// Checks that a waiting request is not approved if another Node has the same addresses.
fn check_rival_is_not_approved(scene: &Scene, request: &Request) {
    let more = scene.evidence_beside(rival(scene));
    let judged = judge::judge(request, scene.policy, &more, now());
    if let Verdict::Wait(awaited) = &judged.verdict {
        let mut twice = awaited.clone();
        twice.dedup();
        assert_eq!(*awaited, twice, "{awaited:?}");
        let unnamed = awaited.contains(&Awaited::Node("".into()));
        assert!(!unnamed, "waits for a Node without a name");
    }
    assert_ne!(judged.verdict.decision(), Decision::Approve);
}

/// A Node with the addresses of all Nodes.
fn rival(scene: &Scene) -> NodeSpec {
    let nodes = scene.vector.nodes.iter();
    NodeSpec {
        name: "rival".into(),
        addresses: nodes.flat_map(|node| node.addresses.clone()).collect(),
        control_plane: true,
        ..NodeSpec::default()
    }
}

/// Every vector under the default policy, and under the strict one without independent sources.
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = Vector::all();
    let policies = ["default", "proof"];
    let scenes = policies.map(|policy| vectors.iter().filter_map(move |v| scene::write(v, policy)));
    let [default, proof] = scenes;
    default.chain(proof).collect()
}

/// Lines for the mutator to insert.
const LINES: [&str; 36] = [
    "policy default",
    "policy names",
    "policy proof",
    "user system:node:node-1",
    "user system:node:node-2",
    "group system:nodes",
    "group system:authenticated",
    "group system:masters",
    "credential X509SHA256=00",
    "usage digital signature",
    "usage key encipherment",
    "usage server auth",
    "usage client auth",
    "expires 31536000",
    "key node-2",
    "unsynced nodes",
    "node node-1 3600",
    "node node-1 3600 control-plane",
    "node node-2 7200",
    "node node-2 60 lost",
    "address Hostname node-1",
    "address Hostname 10.0.0.1",
    "address InternalIP 10.0.0.1",
    "address InternalIP fd00::1",
    "address InternalIP 10.0.0.100",
    "address InternalIP ::ffff:10.0.0.1",
    "address InternalDNS node-1.example",
    "pods 10.0.0.0/24",
    "org system:nodes",
    "cn system:node:node-1",
    "dns node-1",
    "dns node-2",
    "dns Node-1.Example.",
    "ip 10.0.0.1",
    "ip fd00::1",
    "ip 10.0.0.100",
];

/// Changes lines, or the request that follows them.
pub fn mutate(data: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (lines, rest) = data.split_at(end.unwrap_or(data.len()));
    if random.below(4) == 0 {
        return None;
    }
    if end.is_some() && random.below(2) == 0 {
        let info = request_info::mutate(&rest[2..], random);
        return Some([lines, b"\n\n", &info].concat());
    }
    let mut lines: Vec<Vec<u8>> = lines
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..=random.below(3) {
        mutate_line(&mut lines, random);
    }
    Some([&lines.join(&b'\n'), rest].concat())
}

fn mutate_line(lines: &mut Vec<Vec<u8>>, random: &mut Random) {
    let at = random.below(lines.len());
    let other = lines[random.below(lines.len())].clone();
    let known = LINES[random.below(LINES.len())].as_bytes().to_vec();
    match random.below(7) {
        0 if lines.len() > 1 => drop(lines.remove(at)),
        1 => lines.insert(at, known),
        2 => lines[at] = known,
        3 => lines.insert(at, other),
        4 => {
            // The value of one line with the keyword of another.
            let value = other.split(|byte| *byte == b' ').next_back();
            let keep = lines[at].iter().rposition(|byte| *byte == b' ');
            lines[at].truncate(keep.map_or(0, |space| space + 1));
            lines[at].extend(value.unwrap_or_default());
        }
        _ => {
            let line = &mut lines[at];
            let byte = u8::try_from(0x20 + random.below(0x5f)).unwrap();
            let place = random.below(line.len() + 1);
            match line.get_mut(place) {
                // A name in the other case is the same name.
                Some(letter) if random.below(2) == 0 => *letter ^= 0x20,
                Some(letter) => *letter = byte,
                None => line.push(byte),
            }
        }
    }
}
