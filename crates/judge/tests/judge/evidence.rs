//! Evidence that ends: with a list, with a policy, after a sleep of the machine.

use jiff::SignedDuration;
use judge::evidence::{Evidence, Fact, Source};
use judge::policy::Policy;
use judge::{Decision, Judgment, judge};
use serde_json::json;
use testkit::cluster::{AnswerSpec, NodeSpec, QuestionSpec};
use testkit::now;
use testkit::policies::BasePolicy;
use testkit::strategies::address;
use testkit::vector::{Vector, request_pem};

fn evidence(vector: &Vector, policy: &Policy) -> Evidence {
    let mut evidence = Evidence::new(&policy.spec);
    for (fact, at) in vector.facts() {
        evidence.apply(fact, at);
    }
    evidence
}

fn judged(vector: &Vector, policy: &Policy, evidence: &Evidence) -> Judgment {
    let request = vector.read(request_pem(&vector.request).as_bytes());
    judge(&request, policy, evidence, now())
}

fn is_approved(vector: &Vector, policy: &Policy, evidence: &Evidence) -> bool {
    judged(vector, policy, evidence).verdict.decision() == Decision::Approve
}

/// A Node that has the address of `node-1` too.
fn liar() -> NodeSpec {
    NodeSpec {
        name: "liar".into(),
        addresses: vec![address("InternalIP", "10.0.0.1")],
        ..NodeSpec::default()
    }
}

#[test]
fn a_node_of_a_later_list_came_later() {
    let policy = BasePolicy::Default.with(None);
    let vector = Vector {
        nodes: vec![liar()],
        ..Vector::genuine()
    };
    let details = |evidence: &Evidence| {
        let judged = judged(&vector, &policy, evidence);
        let details: Vec<&str> = judged.findings.iter().map(|f| f.detail.as_str()).collect();
        details.join("\n")
    };
    let node = || Fact::ListedNode(Box::new(NodeSpec::default().node()));
    // The list of the liar has ended.
    let mut later = evidence(&vector, &policy);
    later.apply(node(), now());
    later.apply(Fact::Synced(Source::Nodes), now());
    assert!(
        details(&later).contains("Node liar claimed it first, so it owns it"),
        "{}",
        details(&later)
    );
    // The end of another source is not the end of a list of Nodes.
    let mut same = Evidence::new(&policy.spec);
    same.apply(Fact::ListedNode(Box::new(liar().node())), now());
    same.apply(Fact::Synced(Source::Requests), now());
    same.apply(node(), now());
    for (fact, at) in vector.facts() {
        if !matches!(fact, Fact::ListedNode(_)) {
            same.apply(fact, at);
        }
    }
    assert!(
        details(&same).contains("the order of their claims was not observed"),
        "{}",
        details(&same)
    );
}

#[test]
fn names_that_a_new_policy_counts_are_claimed_from_then_on() {
    let few = BasePolicy::Default.with(Some(&json!({"names": {"max": 1}})));
    let many = BasePolicy::Default.with(None);
    let vector = Vector::genuine();
    // Only its Hostname counted. The liar claims the address after it.
    let mut changed = evidence(&vector, &few);
    changed.apply(Fact::Node(Box::new(liar().node())), now());
    changed.policy_changed(&few.spec, &many.spec, now());
    assert!(!is_approved(&vector, &many, &changed));
    // The same policy again changes no claim.
    let mut same = evidence(&vector, &many);
    same.apply(Fact::Node(Box::new(liar().node())), now());
    same.policy_changed(&many.spec, &many.spec, now());
    assert!(is_approved(&vector, &many, &same));
}

#[test]
fn answers_end_with_the_sources_of_a_policy_and_with_a_sleep() {
    let dns = |reverse: &str| {
        let change = json!({
            "sources": {"dns": {"suffixes": ["example.com"], "reverse": reverse}},
            "proof": {"ipAddresses": {"allOf": ["DNS"], "anyOf": []}, "nodeName": {"anyOf": []}},
        });
        BasePolicy::Default.with(Some(&change))
    };
    let (policy, other) = (dns("Optional"), dns("Required"));
    let vector = Vector {
        answers: vec![AnswerSpec {
            to: QuestionSpec::Addresses("node-1.example.com".into()),
            sans: Some(vec!["10.0.0.1".into()]),
            empty: None,
            certificate: None,
            failed: None,
            holds: SignedDuration::from_hours(1),
        }],
        ..Vector::genuine()
    };
    let mut evidence = evidence(&vector, &policy);
    evidence.policy_changed(&policy.spec, &policy.spec, now());
    evidence.prune(now());
    assert!(is_approved(&vector, &policy, &evidence));
    let mut slept = evidence;
    slept.clear_answers();
    assert!(!is_approved(&vector, &policy, &slept));
    let mut changed = self::evidence(&vector, &other);
    changed.policy_changed(&other.spec, &policy.spec, now());
    assert!(!is_approved(&vector, &policy, &changed));
}
