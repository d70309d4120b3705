//! Contests for a SAN whose claims no running watch has seen: the claimants that count, and what findings
//! tell of them.

use std::net::IpAddr;

use jiff::SignedDuration;
use judge::Decision;
use serde_json::json;
use testkit::cluster::{AnswerSpec, CertificateSpec, NodeSpec, QuestionSpec};
use testkit::forge::Recipe;
use testkit::policies::BasePolicy;
use testkit::strategies::address;
use testkit::vector::Vector;

/// The name and the address that all Nodes list.
const NAME: &str = "shared.example";
const ADDRESS: &str = "203.0.113.1";
/// The limits in `rules/claims.rs`.
const MAX_RIVALS: usize = 64;
const MAX_EXAMINED: usize = 1024;

/// The requestor is the last one in the order of names.
fn name(index: usize) -> String {
    match index {
        1 => "node-1".to_owned(),
        _ => format!("a-{index}"),
    }
}

/// The Node with this index, with an address of its own.
fn node(index: usize, shared: &str) -> NodeSpec {
    let kind = match shared.parse::<IpAddr>() {
        Ok(_) => "InternalIP",
        Err(_) => "InternalDNS",
    };
    let name = name(index);
    NodeSpec {
        addresses: vec![
            address("Hostname", &name),
            address("InternalIP", &own_address(index)),
            address(kind, shared),
        ],
        name,
        ..NodeSpec::default()
    }
}

fn own_address(index: usize) -> String {
    format!("10.0.{}.{}", index / 200, index % 200 + 1)
}

/// A request of `node-1` for a name or address that `rivals` more Nodes list.
fn contest(shared: &str, rivals: usize) -> Vector {
    let mut vector = Vector::genuine();
    let own: IpAddr = own_address(1).parse().unwrap();
    vector.request = match shared.parse() {
        Ok(ip) => Recipe::genuine("node-1", &["node-1"], &[own, ip]),
        Err(_) => Recipe::genuine("node-1", &["node-1", shared], &[own]),
    };
    vector.nodes = (2..2 + rivals)
        .chain([1])
        .map(|index| node(index, shared))
        .collect();
    vector
}

/// The kubelet of this Node shows a certificate at an address.
fn shows(at: &str, index: usize, sans: &[&str], minutes_old: i64) -> AnswerSpec {
    AnswerSpec {
        certificate: Some(CertificateSpec {
            node: name(index),
            age: SignedDuration::from_mins(minutes_old),
            sans: sans.iter().map(|san| (*san).to_owned()).collect(),
        }),
        failed: None,
        ..silent(at)
    }
}

/// Nothing answers at an address.
fn silent(at: &str) -> AnswerSpec {
    AnswerSpec {
        to: QuestionSpec::Certificate(at.parse().unwrap()),
        sans: None,
        empty: None,
        certificate: None,
        failed: Some("connection refused".into()),
        holds: SignedDuration::from_mins(1),
    }
}

fn is_approved(vector: &Vector) -> bool {
    vector.outcome(BasePolicy::Default).verdict == Decision::Approve
}

fn details(vector: &Vector) -> String {
    let judged = vector.judgment(BasePolicy::Default);
    let details: Vec<&str> = judged.findings.iter().map(|f| f.detail.as_str()).collect();
    details.join("\n")
}

#[test]
fn a_name_of_too_many_nodes_is_nobodys() {
    let contest_of = |rivals| {
        let mut vector = contest(NAME, rivals);
        let own = shows(&own_address(1), 1, &[NAME], 5);
        let others = (2..2 + rivals).map(|index| silent(&own_address(index)));
        vector.answers = std::iter::once(own).chain(others).collect();
        vector
    };
    assert!(is_approved(&contest_of(MAX_RIVALS)));
    for more in 1..3 {
        let vector = contest_of(MAX_RIVALS + more);
        assert!(!is_approved(&vector));
        let details = details(&vector);
        assert!(details.contains("more than 64 Nodes claim it"), "{details}");
    }
}

#[test]
fn claimants_that_are_not_examined_count_as_rivals() {
    // The others claimed the Node's name with a domain when it was there already, and before it claimed
    // that itself. So none is a rival.
    let contest_of = |claimants| {
        let mut vector = contest("node-1.example", claimants);
        for node in &mut vector.nodes {
            let minutes = if node.name == "node-1" { 20 } else { 30 };
            node.watched = Some(SignedDuration::from_mins(minutes));
        }
        vector.others = vec![NodeSpec {
            addresses: vec![address("Hostname", "node-1")],
            ..NodeSpec::default()
        }];
        vector
    };
    assert!(is_approved(&contest_of(MAX_EXAMINED)));
    assert!(!is_approved(&contest_of(MAX_EXAMINED + 1)));
}

#[test]
fn each_claimant_that_is_not_examined_must_answer() {
    // The inventory rules all rivals out, if they are examined.
    let silent_from = |rivals: usize, first: usize| {
        let mut vector = contest(ADDRESS, rivals);
        let entry = json!({"name": name(1), "addresses": [own_address(1), ADDRESS]});
        vector.inventory = Some(json!({"nodes": [entry]}));
        let own = shows(&own_address(1), 1, &[ADDRESS], 5);
        vector.answers = [silent(ADDRESS), own].into();
        vector.answers.extend((2..2 + rivals).map(|index| {
            let at = own_address(index);
            let is_silent = index >= first;
            if is_silent {
                silent(&at)
            } else {
                shows(&at, index, &[ADDRESS], 60)
            }
        }));
        vector
    };
    assert!(is_approved(&silent_from(MAX_EXAMINED, 2)));
    assert!(is_approved(&silent_from(MAX_EXAMINED + 2, usize::MAX)));
    // By name, the last ones are not examined.
    let mut names: Vec<usize> = (2..4 + MAX_EXAMINED).collect();
    names.sort_by_key(|index| name(*index));
    let last = names[MAX_EXAMINED + 1];
    let mut vector = silent_from(MAX_EXAMINED + 2, usize::MAX);
    vector.answers[last] = silent(&own_address(last));
    assert!(!is_approved(&vector));
}

#[test]
fn the_newest_certificate_decides_when_all_rivals_have_answered() {
    let contest_of = |rivals| {
        let mut vector = contest(ADDRESS, rivals);
        let own = shows(&own_address(1), 1, &[ADDRESS], 5);
        let older = |index| shows(&own_address(index), index, &[ADDRESS], 60);
        vector.answers = [silent(ADDRESS), own].into();
        vector.answers.extend((2..2 + rivals).map(older));
        vector
    };
    assert!(is_approved(&contest_of(3)));
    // Four claimants are asked, the requestor among them.
    assert!(!is_approved(&contest_of(4)));
    let mut silence = contest_of(3);
    silence.answers[4] = silent(&own_address(4));
    assert!(!is_approved(&silence));
    // The certificate at the address itself is the requestor's, or it proves nothing.
    let mut shown = contest_of(4);
    shown.answers[0] = shows(ADDRESS, 2, &[ADDRESS], 60);
    assert!(!is_approved(&shown));
    shown.answers[0] = shows(ADDRESS, 1, &[ADDRESS], 5);
    assert!(is_approved(&shown));
}

#[test]
fn findings_tell_both_sides_of_a_contest() {
    let contest_of = |rivals| {
        let mut vector = contest(ADDRESS, rivals);
        vector.answers = (1..2 + rivals)
            .map(|index| silent(&own_address(index)))
            .collect();
        vector.answers.push(silent(ADDRESS));
        vector
    };
    let of_one = details(&contest_of(1));
    let of_two = details(&contest_of(2));
    let of_hundred = details(&contest_of(100));
    for (details, part) in [
        (&of_one, "by Node a-2 (which is live) and by Node node-1"),
        (&of_one, "its owner is unknown (connection refused)"),
        (
            &of_one,
            "Node a-2 contests 1 other Node, Node node-1 contests 1 other Node.",
        ),
        (
            &of_two,
            "Node a-2 contests 2 other Nodes, Node node-1 contests 2 other Nodes.",
        ),
        (&of_hundred, "Node node-1 contests 100 or more other Nodes."),
    ] {
        assert!(details.contains(part), "{part}: {details}");
    }
}
