//! The events that a verdict of Wait names. The request is judged again when one of them happens: a
//! missing event would let it wait forever, a superfluous one would waste a judgment.

mod scenario;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use judge::evidence::Source;
use judge::finding::{Awaited, Code, Effect};
use judge::{Decision, Judgment, Verdict};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use scenario::Scenario;
use testkit::cluster::{NodeSpec, SourceSpec};
use testkit::policies::BasePolicy;
use testkit::strategies::{address, any_vector, config};
use testkit::vector::Vector;

/// Maximum number of rounds until a request stops waiting. It exceeds the number of things that can be
/// missing in turn: sources, the Node, its addresses, their age, its label, the policy, a rival.
const MAX_ROUNDS: usize = 9;

/// The events that a request waits for; `None` if it does not wait.
fn awaited(judged: &Judgment) -> Option<&[Awaited]> {
    match &judged.verdict {
        Verdict::Wait(awaited) => Some(awaited),
        Verdict::Approve(_) | Verdict::Deny(_) | Verdict::Ignore => None,
    }
}

fn waiting_codes(judged: &Judgment) -> BTreeSet<Code> {
    let waits = judged.findings.iter().filter(|f| f.effect == Effect::Wait);
    waits.map(|finding| finding.code).collect()
}

/// Checks that each awaited event alone changes the findings.
fn check_each_event_matters(scenario: &Scenario, judged: &Judgment) -> Result<(), String> {
    for thing in awaited(judged).unwrap_or_default() {
        let mut changed = scenario.clone();
        changed.change(thing);
        if changed.judge().findings == judged.findings {
            return Err(format!(
                "{thing:?} is named and changes nothing: {judged:?}"
            ));
        }
    }
    Ok(())
}

/// Checks that a request stops waiting when the awaited things are fixed, round by round.
fn check_events_end_waiting(scenario: &Scenario) -> Result<(), String> {
    let mut scenario = scenario.clone();
    let mut judged = scenario.judge();
    for _ in 0..MAX_ROUNDS {
        let Some(things) = awaited(&judged) else {
            return Ok(());
        };
        for thing in things {
            scenario.fix(thing);
        }
        let after = scenario.judge();
        if after.findings == judged.findings {
            return Err(format!("all that is named is right, and still: {judged:?}"));
        }
        judged = after;
    }
    Err(format!("no end of waiting: {judged:?}"))
}

/// Checks that no awaited event is missing: with everything else fixed, the request still waits or is
/// denied.
fn check_no_other_event_helps(scenario: &Scenario, judged: &Judgment) -> Result<(), String> {
    let mut changed = scenario.clone();
    changed.fix_all_except(awaited(judged).unwrap_or_default());
    let after = changed.judge();
    let (before, left) = (waiting_codes(judged), waiting_codes(&after));
    match after.verdict.decision() {
        Decision::Ignore => Ok(()),
        Decision::Wait | Decision::Deny if before.is_subset(&left) => Ok(()),
        other @ (Decision::Approve | Decision::Wait | Decision::Deny) => Err(format!(
            "{before:?} of {judged:?} became {other} without any of what it names"
        )),
    }
}

#[test]
fn vectors_that_wait_name_the_awaited_events() {
    let mut seen = BTreeSet::new();
    for vector in Vector::all() {
        for base in BasePolicy::ALL {
            let scenario = Scenario::new(&vector, base);
            let judged = scenario.judge();
            if awaited(&judged).is_none() {
                continue;
            }
            seen.extend(waiting_codes(&judged));
            let held = check_each_event_matters(&scenario, &judged)
                .and_then(|()| check_events_end_waiting(&scenario))
                .and_then(|()| check_no_other_event_helps(&scenario, &judged));
            if let Err(why) = held {
                let (row, title) = (vector.row, &vector.title);
                panic!("row {row} `{title}`, {}: {why}", base.as_str());
            }
        }
    }
    let all = Code::ALL.iter().copied();
    let all: BTreeSet<Code> = all.filter(|code| code.effect() == Effect::Wait).collect();
    assert_eq!(seen, all, "codes that wait, in no vector that does");
}

/// A failed answer must not wake the request, which would send the query again at once.
#[test]
fn a_failed_query_is_retried_only_after_a_while() {
    let vectors = Vector::all();
    let failed = vectors
        .iter()
        .find(|vector| vector.title == "DNS cannot be asked");
    for base in BasePolicy::ALL {
        let judged = Scenario::new(failed.unwrap(), base).judge();
        let awaits = awaited(&judged);
        assert!(matches!(awaits, Some([Awaited::Time(_)])), "{awaits:?}");
    }
}

/// A kubelet that does not answer may have the newest certificate, so it is asked again.
#[test]
fn a_silent_kubelet_is_asked_again_after_a_while() {
    let title = "the node's kubelet is silent, and the other Node shows an old certificate with the address";
    let vectors = Vector::all();
    let silent = vectors.iter().find(|vector| vector.title == title);
    let judged = Scenario::new(silent.unwrap(), BasePolicy::Default).judge();
    let awaits = awaited(&judged);
    assert!(
        matches!(awaits, Some([Awaited::Claim(_), Awaited::Time(_)])),
        "{awaits:?}"
    );
}

/// A vector in which more may be missing than in [`any_vector`].
fn incomplete_vector() -> impl Strategy<Value = Vector> {
    let policy = prop_oneof![
        4 => Just(None),
        1 => Just(Some(serde_json::json!({"names": {"dnsSuffixes": ["example"]}}))),
        1 => Just(Some(serde_json::json!({"names": {"networks": ["10.0.0.0/8", "fd00::/8"]}}))),
    ];
    let sources = prop_oneof![
        4 => Just(Vec::new()),
        1 => subsequence(Source::ALL.to_vec(), 1..=3),
    ];
    let node = (
        proptest::bool::weighted(0.9),
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.3, 0..60_i64),
    );
    (
        any_vector(),
        policy,
        sources,
        any::<bool>(),
        node,
        1..600_i64,
    )
        .prop_map(
            |(mut vector, policy, sources, never, (is_there, uninitialized, stable), age)| {
                vector.policy = policy.or(vector.policy);
                vector.object.age = SignedDuration::from_secs(age);
                vector.nodes[0].uninitialized = uninitialized;
                vector.nodes[0].stable = stable.map(SignedDuration::from_secs);
                vector.nodes.truncate(usize::from(is_there));
                for source in sources {
                    let spec = SourceSpec {
                        synced: !never,
                        failing: Some(SignedDuration::from_hours(2)),
                    };
                    vector.sources.insert(source.as_str().into(), spec);
                }
                vector
            },
        )
}

fn waiting() -> impl Strategy<Value = Scenario> {
    (incomplete_vector(), select(&BasePolicy::ALL[..]))
        .prop_map(|(vector, base)| Scenario::new(&vector, base))
        .prop_filter("it waits", |scenario| {
            scenario.judge().verdict.decision() == Decision::Wait
        })
}

/// A Node with its own names, addresses and pods.
fn unrelated_node() -> impl Strategy<Value = NodeSpec> {
    (any::<[bool; 4]>(), 1..7200_i64).prop_map(|(flags, age)| NodeSpec {
        name: "unrelated-node".into(),
        uid: None,
        watched: None,
        addresses: vec![
            address("Hostname", "unrelated-node"),
            address("InternalIP", "192.0.2.1"),
            address("ExternalIP", "2001:db8:ffff::1"),
            address("InternalDNS", "unrelated-node.example"),
        ],
        age: SignedDuration::from_secs(age),
        first_seen: None,
        stable: None,
        terminating: flags[0],
        lost: flags[1],
        control_plane: flags[2],
        uninitialized: flags[3],
        pod_cidrs: vec!["198.51.100.0/24".parse().unwrap()],
        provider_id: None,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_awaited_event_matters(scenario in waiting()) {
        let held = check_each_event_matters(&scenario, &scenario.judge());
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }

    #[test]
    fn the_awaited_events_end_the_waiting(scenario in waiting()) {
        let held = check_events_end_waiting(&scenario);
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }

    #[test]
    fn no_other_event_ends_the_waiting(scenario in waiting()) {
        let held = check_no_other_event_helps(&scenario, &scenario.judge());
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }

    /// Neither adding nor removing an unrelated Node changes a judgment.
    #[test]
    fn an_unrelated_node_changes_nothing(scenario in waiting(), unrelated_node in unrelated_node()) {
        let mut more = scenario.clone();
        more.vector.others.push(unrelated_node);
        prop_assert_eq!(scenario.judge(), more.judge());
    }
}
