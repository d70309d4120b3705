//! Sources that no kubelet can write, and policies that are reloaded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Scene, codes, node};
use crate::controller::input::{Answered, Input};
use judge::Decision;
use judge::csr::names::{NodeName, San};
use judge::evidence::{
    Answer, Fact, IdentityKind, Inventory, Machine, NodeAddress, NodeReference, Protection,
    ServingCertificate, Source,
};
use judge::finding::{Code, Question};
use judge::policy::{Policy, parse};

const HEAD: &str =
    "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: test}\nspec:\n";

fn policy(spec: &str) -> Arc<Policy> {
    Arc::new(parse(&format!("{HEAD}{spec}")).unwrap())
}

fn machines(group: &str) -> Arc<Policy> {
    policy(&format!(
        "  sources:\n    machines:\n      - {{group: {group}, kind: Machine, nodeName: .n, providerID: .p}}\n\
         \x20 proof:\n    ipAddresses: {{allOf: [Machine]}}\n"
    ))
}

impl Scene {
    /// One in which the Node and the request of `a` are there under this policy.
    fn under(policy: Arc<Policy>) -> Scene {
        let mut scene = Scene::synced();
        scene.policy_becomes(policy);
        let mut own = node("a", scene.now.wall);
        own.provider_id = Some("test://a".into());
        scene.show(own);
        scene.ask("a", 1);
        scene
    }

    fn policy_becomes(&mut self, policy: Arc<Policy>) {
        let policy = Box::new((*policy).clone());
        self.state.apply(Input::Policy(Ok(policy)), self.now);
    }

    /// The codes of the next decision; there must be one.
    fn says(&mut self) -> Vec<Code> {
        codes(&self.turn().unwrap())
    }
}

fn machine() -> Machine {
    Machine {
        key: "Machine test/a".into(),
        node: NodeReference::Name(NodeName::parse("a")),
        provider_id: Some("test://a".into()),
        checks_provider_id: true,
        addresses: San::from_ip_text("10.0.0.1").into_iter().collect(),
        created: jiff::Timestamp::UNIX_EPOCH,
        terminating: false,
    }
}

#[test]
fn machines_wake_what_waits_for_them() {
    let mut scene = Scene::under(machines("one.example"));
    assert_eq!(scene.says(), [Code::SourceUnready]);
    scene.know(Fact::Synced(Source::Machines));
    assert_eq!(scene.says(), [Code::MachineMissing]);
    scene.know(Fact::Machine(Box::new(Machine {
        key: "Machine test/b".into(),
        node: NodeReference::Name(NodeName::parse("b")),
        addresses: BTreeSet::new(),
        ..machine()
    })));
    // It has the same provider ID, which a request may await.
    assert_eq!(scene.says(), [Code::MachineMissing]);
    scene.know(Fact::Machine(Box::new(machine())));
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

/// Until the watches are those on the Machines that the policy names, none is heard: neither as proof
/// nor as all there is.
#[test]
fn machines_of_another_policy_are_not_heard() {
    let mut scene = Scene::under(machines("one.example"));
    scene.know(Fact::Synced(Source::Machines));
    let before = scene.state.in_force().generation;
    scene.policy_becomes(machines("other.example"));
    assert_ne!(scene.state.in_force().generation, before);
    assert_eq!(scene.says(), [Code::SourceUnready]);
    let late = Fact::Machine(Box::new(machine()));
    scene.state.apply(Input::Machines(before, late), scene.now);
    let machines = scene.state.evidence().machines();
    assert!(machines.is_some_and(|all| all.is_empty()));
}

/// Another field of the policy is no reason to forget what is being watched.
#[test]
fn machines_stay_if_only_something_else_changes() {
    let mut scene = Scene::under(machines("one.example"));
    scene.know(Fact::Synced(Source::Machines));
    scene.know(Fact::Machine(Box::new(machine())));
    let before = scene.state.in_force().generation;
    let with_dns = "  sources:\n    dns: {suffixes: [example.com]}\n    machines:\n      - {group: one.example, kind: Machine, \
                    nodeName: .n, providerID: .p}\n  proof:\n    ipAddresses: {allOf: [Machine]}\n";
    scene.policy_becomes(policy(with_dns));
    assert_eq!(scene.state.in_force().generation, before);
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

/// Under the previous policy, certificates of endpoints could be missing, and have not been read since.
#[test]
fn certificates_that_are_required_now_must_be_there_first() {
    let required = |demand: &str| {
        policy(&format!(
            "  protected: {{endpointCertificates: {demand}}}\n"
        ))
    };
    let mut scene = Scene::under(required("Optional"));
    scene.policy_becomes(required("Required"));
    assert_eq!(scene.says(), [Code::SourceUnready]);
    let source = Source::ApiServerCertificates;
    scene.know(Fact::Synced(source));
    scene.policy_becomes(required("Required"));
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

#[test]
fn an_inventory_that_is_read_anew_wakes() {
    let listed = |ip: &str| {
        let text = format!(
            "apiVersion: csr-warden.dev/v1beta1\nkind: Inventory\nnodes: [{{name: a, addresses: [{ip}]}}]\n"
        );
        Inventory::parse(&text).unwrap()
    };
    let mut scene = Scene::under(policy("  proof: {ipAddresses: {allOf: [Inventory]}}\n"));
    assert_eq!(scene.says(), [Code::SanUncorroborated]);
    assert!(scene.turn().is_none());
    // From none to one is a restart, and another policy wakes all.
    scene.know(Fact::Inventory(Box::new(listed("10.0.0.1"))));
    scene.policy_becomes(policy("  proof: {ipAddresses: {allOf: [Inventory]}}\n"));
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

#[test]
fn an_answer_wakes_and_holds_for_its_time() {
    let dns = "  sources: {dns: {suffixes: [example]}}\n  proof: {ipAddresses: {allOf: [DNS]}}\n";
    let mut scene = Scene::under(policy(dns));
    let turn = scene.turn().unwrap();
    let question = Question::Addresses("a.example".into());
    assert_eq!(turn.questions().collect::<Vec<_>>(), [&question]);
    assert!(scene.turn().is_none());

    let until = scene.now.wall + Duration::from_secs(10);
    let nothing = Answer::Empty("no such name".into());
    scene.know(Fact::Answer(question.clone(), nothing, until));
    assert_eq!(scene.says(), [Code::SanUncorroborated]);
    scene.pass(Duration::from_secs(11));
    let turn = scene.turn().unwrap();
    assert_eq!(turn.questions().count(), 1, "it is asked again");

    let address = San::from_ip_text("10.0.0.1").into_iter().collect();
    let until = scene.now.wall + Duration::from_secs(10);
    scene.know(Fact::Answer(question, Answer::Sans(address), until));
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

/// DNS may have changed while a virtual machine was paused, which its clocks do not show.
#[test]
fn an_answer_does_not_outlive_a_set_clock() {
    let dns = "  sources: {dns: {suffixes: [example]}}\n  proof: {ipAddresses: {allOf: [DNS]}}\n";
    let mut scene = Scene::under(policy(dns));
    let turn = scene.turn().unwrap();
    let question = turn.questions().next().unwrap().clone();
    let until = scene.now.monotonic + Duration::from_secs(3600);
    let nothing = Answer::Empty("no such name".into());
    scene.know(Fact::Answer(question.clone(), nothing, until));
    assert_eq!(scene.turn().unwrap().questions().count(), 0);
    scene.now.wall += Duration::from_secs(10);
    scene.state.tick(scene.now);
    let turn = scene.turn().unwrap();
    assert_eq!(turn.questions().collect::<Vec<_>>(), [&question]);
}

/// Another server may have another answer.
#[test]
fn an_answer_to_a_former_policy_does_not_count() {
    let dns = |server: &str| {
        policy(&format!(
            "  sources: {{dns: {{suffixes: [example], servers: [{server}]}}}}\n  proof: {{ipAddresses: {{allOf: [DNS]}}}}\n"
        ))
    };
    let former = dns("10.0.0.53");
    let mut scene = Scene::under(former.clone());
    let turn = scene.turn().unwrap();
    let question = turn.questions().next().unwrap().clone();
    scene.policy_becomes(dns("10.0.0.54"));
    assert_eq!(scene.turn().unwrap().questions().count(), 1);
    let answered = |asked_by: &Arc<Policy>, scene: &Scene| {
        Input::Answered(Box::new(Answered {
            question: question.clone(),
            answer: Answer::Sans(San::from_ip_text("10.0.0.1").into_iter().collect()),
            until: scene.now.monotonic + Duration::from_secs(60),
            asked_by: asked_by.clone(),
        }))
    };
    let late = answered(&former, &scene);
    scene.state.apply(late, scene.now);
    assert!(scene.turn().is_none());
    let right = answered(&dns("10.0.0.54"), &scene);
    scene.state.apply(right, scene.now);
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

/// Rivals of a claim name any address, so silence there is no failure of a source.
#[test]
fn a_rival_that_does_not_answer_is_no_failed_source() {
    let mut scene = Scene::synced();
    let answered = Answered {
        question: Question::Certificate("10.0.0.9".parse().unwrap()),
        answer: Answer::Failed("no answer".into()),
        until: scene.now.monotonic + Duration::from_secs(60),
        asked_by: policy("  names: {max: 3}\n"),
    };
    let effects = scene
        .state
        .apply(Input::Answered(Box::new(answered)), scene.now);
    assert!(effects.is_empty());
}

/// The kubelet is asked at its next address after the first one has not answered.
#[test]
fn a_kubelet_is_asked_at_one_address_after_the_other() {
    let certificate = "  sources: {servingCertificate: {}}\n  proof: {ipAddresses: {anyOf: [Inventory, \
                       ServingCertificate]}}\n";
    let mut scene = Scene::synced();
    scene.policy_becomes(policy(certificate));
    let mut own = node("a", scene.now.wall);
    own.addresses
        .extend(NodeAddress::parse("InternalIP", "10.0.0.2"));
    scene.show(own);
    scene.ask("a", 1);
    let [first, second] =
        ["10.0.0.1", "10.0.0.2"].map(|ip| Question::Certificate(ip.parse().unwrap()));
    let turn = scene.turn().unwrap();
    assert_eq!(turn.questions().collect::<Vec<_>>(), [&first]);
    let until = scene.now.wall + Duration::from_secs(10);
    let silent = Answer::Failed("no answer".into());
    scene.know(Fact::Answer(first, silent, until));
    let turn = scene.turn().unwrap();
    assert_eq!(turn.questions().collect::<Vec<_>>(), [&second]);
    let shown = ServingCertificate {
        node: NodeName::parse("a").unwrap(),
        issued: scene.now.wall,
        sans: San::from_ip_text("10.0.0.1").into_iter().collect(),
    };
    let shown = Answer::Certificate(Box::new(shown));
    scene.know(Fact::Answer(second, shown, until));
    assert_eq!(scene.decisions(), [("csr-a-1".into(), Decision::Approve)]);
}

/// An API server that stops leaves its EndpointSlice, and comes back with the same address.
#[test]
fn what_an_api_server_leaves_for_a_restart_is_not_free() {
    for slice_is_gone in [false, true] {
        let mut scene = Scene::synced();
        let (origin, kind) = (
            "EndpointSlice default/kubernetes",
            IdentityKind::ApiServerEndpoint,
        );
        let ip = |text: &str| San::from_ip_text(text).unwrap();
        let (stays, restarts) = (ip("10.0.0.2"), ip("10.0.0.1"));
        let listed = |scene: &mut Scene, sans: &[&San]| {
            let sans = sans.iter().map(|san| (*san).clone()).collect();
            scene.know(Fact::Protected(Protection {
                origin: origin.to_owned(),
                kind,
                sans,
                networks: Vec::new(),
                certificate: None,
            }));
        };
        listed(&mut scene, &[&stays, &restarts]);
        if slice_is_gone {
            scene.know(Fact::Unprotected(origin.to_owned()));
        } else {
            listed(&mut scene, &[&stays]);
        }
        let created = scene.now.wall;
        scene.show(node("a", created));
        scene.pass(Duration::from_secs(60));
        scene.ask("a", 1);
        assert_eq!(scene.says(), [Code::SanRecentlyProtected]);
        listed(&mut scene, &[&stays, &restarts]);
        scene.pass(Duration::from_secs(60));
        assert_eq!(scene.says(), [Code::SanApiServerEndpointUnowned]);
        listed(&mut scene, &[&stays]);
        scene.pass(Duration::from_secs(3600));
        scene.ask("a", 2);
        assert_eq!(scene.decisions(), [("csr-a-2".into(), Decision::Approve)]);
    }
}
