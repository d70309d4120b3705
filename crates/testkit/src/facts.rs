//! The facts of a vector about its cluster, and the evidence from them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use judge::evidence::{Evidence, Fact, Source, TimedFact};
use judge::policy::Policy;

use crate::cluster::{KeySpec, NodeSpec, ProtectedSpec, SourceSpec, before_now};
use crate::now;
use crate::policies::{BasePolicy, machine_kinds};

/// The facts of these specifications.
pub fn facts(
    nodes: &[NodeSpec],
    protected: &[ProtectedSpec],
    keys: &[KeySpec],
    sources: &BTreeMap<String, SourceSpec>,
) -> Vec<TimedFact> {
    // The list comes before its end, the sync of the source.
    let mut facts = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.watched.is_none() {
            let mut before = nodes[..index]
                .iter()
                .filter(|other| other.watched.is_none());
            let is_fresh = before.all(|other| other.name != node.name);
            assert!(is_fresh, "Node {} stands twice", node.name);
            facts.push((Fact::ListedNode(Box::new(node.node())), now()));
        }
    }
    facts.extend(facts_of_sources(sources));
    let mut watched: Vec<&NodeSpec> = nodes.iter().filter(|node| node.watched.is_some()).collect();
    watched.sort_by_key(|node| std::cmp::Reverse(node.watched));
    for node in watched {
        let at = before_now(node.watched.unwrap_or_default());
        facts.push((Fact::Node(Box::new(node.node())), at));
    }
    for spec in protected {
        let protection = spec.protection();
        let origin = protection.origin.clone();
        facts.push((Fact::Protected(protection), now()));
        if let Some(until) = spec.until {
            facts.push((Fact::Unprotected(origin), before_now(until)));
        }
    }
    facts.extend(keys.iter().map(|key| (key.fact(), now())));
    facts
}

/// The evidence from these facts. Machines are part of it if `machines` is true. `max_names` is the policy's
/// `names.max`.
pub fn evidence(facts: Vec<TimedFact>, machines: bool, max_names: usize) -> Evidence {
    static WATCHING: LazyLock<Policy> = LazyLock::new(|| {
        let change = serde_json::json!({"sources": {"machines": machine_kinds()}});
        BasePolicy::Default.with(Some(&change))
    });
    let mut spec = if machines {
        WATCHING.spec.clone()
    } else {
        BasePolicy::Default.with(None).spec
    };
    spec.names.max = max_names;
    let mut evidence = Evidence::new(&spec);
    for (fact, at) in facts {
        evidence.apply(fact, at);
    }
    evidence
}

fn facts_of_sources(specs: &BTreeMap<String, SourceSpec>) -> Vec<TimedFact> {
    for name in specs.keys() {
        let known = Source::ALL.iter().any(|source| source.as_str() == name);
        assert!(known, "there is no source `{name}`");
    }
    let mut facts = Vec::new();
    for source in Source::ALL {
        let spec = specs.get(source.as_str()).cloned().unwrap_or_default();
        if spec.synced {
            facts.push((
                Fact::Synced(source),
                before_now(SignedDuration::from_hours(24)),
            ));
        }
        if let Some(failing) = spec.failing {
            let why = "connection refused".to_owned();
            facts.push((Fact::Failed(source, why), before_now(failing)));
        }
    }
    facts
}
