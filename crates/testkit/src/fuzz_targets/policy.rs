//! Text of a policy: it is refused, or survives serialization. No policy approves a SAN that belongs
//! to another node or to none.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use judge::Decision;
use judge::csr::Request;
use judge::csr::names::San;
use judge::evidence::Evidence;
use judge::policy::{NamePolicy, Policy, SHIPPED, parse};

use crate::cluster::{NodeSpec, kubeadm};
use crate::facts::{evidence, facts};
use crate::forge::general_name::GeneralName;
use crate::forge::octets::{IpOctets, Octets};
use crate::now;
use crate::policies::BasePolicy;
use crate::vector::{Vector, request_pem};

/// Checks any text as a policy.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(policy) = parse(text) else { return };
    assert_eq!(parse(text).ok().as_ref(), Some(&policy));
    let yaml = serde_saphyr::to_string(&policy).expect("what was read can be written");
    let json = serde_json::to_string(&policy).expect("what was read can be written");
    for written in [yaml, json] {
        let again = parse(&written).unwrap_or_else(|error| panic!("{error} in:\n{written}"));
        let again = Policy {
            digest: policy.digest.clone(),
            ..again
        };
        assert_eq!(again, policy, "written as:\n{written}");
    }
    for (what, request, evidence) in HOSTILE.iter() {
        // The administrator says that several Nodes may have it.
        let shared = &policy.spec.names.shared;
        if *what == OF_ANOTHER_NODE && shared.iter().any(|one| one.contains(&ADDRESS_OF_NODE_2)) {
            continue;
        }
        let judged = judge::judge(request, &policy, evidence, now());
        assert_ne!(judged.verdict.decision(), Decision::Approve, "{what}");
    }
}

const OF_ANOTHER_NODE: &str = "another Node's";
const ADDRESS_OF_NODE_2: San = San::Ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));

/// Cases that no policy may approve, each with a description, a request and the evidence.
static HOSTILE: LazyLock<Vec<(&str, Request, Evidence)>> = LazyLock::new(|| {
    let dns = |name: &str| GeneralName::Dns(Octets::from(name));
    let ip =
        |text: &str| GeneralName::Ip(IpOctets::from(text.parse::<std::net::IpAddr>().unwrap()));
    let mut all = Vec::new();
    for (what, name, kind, address) in [
        ("loopback", ip("127.0.0.1"), "InternalIP", "127.0.0.1"),
        ("a Service", ip("10.96.0.1"), "InternalIP", "10.96.0.1"),
        (OF_ANOTHER_NODE, ip("10.0.0.2"), "InternalIP", "10.0.0.2"),
        (
            "a Service's name",
            dns("web.default.svc"),
            "InternalDNS",
            "web.default.svc",
        ),
        (
            "a name of no node",
            dns("unowned.example"),
            "InternalDNS",
            "other.example",
        ),
    ] {
        let mut vector = Vector::genuine();
        vector.request.names.push(name);
        vector.nodes[0]
            .addresses
            .push([(kind.into(), address.into())].into());
        let address = [("InternalIP".into(), "10.0.0.2".into())].into();
        vector.others.push(NodeSpec {
            name: "node-2".into(),
            addresses: vec![address],
            ..NodeSpec::default()
        });
        all.push((what, vector));
    }
    let mut vector = Vector::genuine();
    vector.requestor.username = "system:node:node-2".into();
    all.push(("another's CN", vector));
    let mut vector = Vector::genuine();
    vector.requestor.groups.push("system:masters".into());
    all.push(("a group too many", vector));
    let mut vector = Vector::genuine();
    vector.object.usages.push("client auth".into());
    all.push(("a usage too many", vector));
    let built = |(what, vector): (_, Vector)| {
        let nodes = [vector.nodes.clone(), vector.others.clone()].concat();
        let facts = facts(&nodes, &kubeadm(), &[], &vector.sources);
        let text = request_pem(&vector.request);
        (
            what,
            Request::read(vector.object(), text.as_bytes()),
            evidence(facts, false, NamePolicy::default().max),
        )
    };
    all.into_iter().map(built).collect()
});

/// The policies of all vectors, and the shipped policies.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut texts: Vec<String> = SHIPPED.iter().map(|(_, text)| (*text).into()).collect();
    for vector in Vector::all() {
        if let Some(change) = &vector.policy {
            for base in BasePolicy::ALL {
                let policy = base.with(Some(change));
                texts.push(serde_saphyr::to_string(&policy).unwrap());
            }
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(String::into_bytes).collect()
}
