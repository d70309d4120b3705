//! Checks of a world at rest: no faults, no attackers, and time enough for everything to be decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::sleep;

use super::run::Stage;
use super::world::{BEGIN, has_condition};

/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// The longest time until every kubelet is served: the signer's pause, a request that is given up after
/// 15 minutes, and the next one.
const MOST: Duration = Duration::from_secs(40 * 60);
/// The time after which nothing is left to be read.
const SETTLED: Duration = Duration::from_secs(90);

/// The time after which an observer has read and judged everything, also what it looks at again by itself.
const OBSERVED: Duration = Duration::from_secs(100);
/// The age up to which every replica judges a request, by any policy here.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(14);
/// Number of comparisons with the observer. Only what differs in all of them is wrong.
const COMPARISONS: usize = 4;
/// Interval of these.
const COMPARE_EVERY: Duration = Duration::from_secs(6);

/// Checks the world: with the Nodes of the attackers, and without them once all kubelets are served.
pub(super) async fn check(stage: &mut Stage) {
    stage.observe();
    sleep(SETTLED + OBSERVED).await;
    compare(stage).await;
    stage.evict().await;
    let begun = tokio::time::Instant::now();
    loop {
        sleep(CHECK_EVERY).await;
        let unserved = stage.kubelets.iter().find_map(|kubelet| kubelet.unserved());
        let Some(why) = unserved else { break };
        if begun.elapsed() > MOST {
            let minutes = MOST.as_secs() / 60;
            stage
                .world
                .find(format!("{minutes} min without faults, and {why}"));
            break;
        }
    }
    sleep(SETTLED).await;
    check_audits(stage);
    compare(stage).await;
}

/// Compares the verdicts of the leader, whose evidence grew with all that happened, with those of the
/// observer, whose evidence is made of what the API server has now.
async fn compare(stage: &Stage) {
    let mut different: Option<BTreeMap<String, String>> = None;
    for _ in 0..COMPARISONS {
        sleep(COMPARE_EVERY).await;
        let now = differences(stage);
        different = Some(match different {
            None => now,
            Some(mut before) => {
                before.retain(|request, _| now.contains_key(request));
                before
            }
        });
    }
    for (request, how) in different.into_iter().flatten() {
        stage.world.find(format!("at rest, {request}: {how}"));
    }
}

/// The requests on which the leader and the observer disagree.
fn differences(stage: &Stage) -> BTreeMap<String, String> {
    let audits = stage.replicas.iter().map(|replica| {
        let audit = replica.audit.lock();
        audit.map(|audit| audit.clone()).unwrap_or_default()
    });
    let mut audits: Vec<_> = audits.collect();
    let Some(observer) = audits.pop() else {
        return BTreeMap::new();
    };
    let Some(leader) = audits.into_iter().find(|audit| audit.leads) else {
        return BTreeMap::from([("all requests".into(), "no replica leads".into())]);
    };
    let count = u64::try_from(observer.verdicts.len()).unwrap_or_default();
    stage.world.count(|tally| tally.compared += count);
    let mut differences = BTreeMap::new();
    let compared = comparable(stage);
    for (request, verdict) in &observer.verdicts {
        let of_leader = leader.verdicts.get(request);
        if of_leader != Some(verdict) && compared.contains(request) {
            let how = format!("the leader has {of_leader:?}, the state alone gives {verdict}");
            differences.insert(request.clone(), how);
        }
    }
    for (request, verdict) in &leader.verdicts {
        if !observer.verdicts.contains_key(request) && compared.contains(request) {
            let how = format!("the leader has {verdict}, the state alone has no such open request");
            differences.insert(request.clone(), how);
        }
    }
    differences
}

/// Checks that each replica knows the API server's state, and that one of them leads.
fn check_audits(stage: &Stage) {
    let world = &stage.world;
    let nodes = nodes(stage);
    let open = open_requests(stage);
    let mut leaders = 0;
    for (index, replica) in stage.replicas.iter().enumerate() {
        let audit = replica
            .audit
            .lock()
            .map(|audit| audit.clone())
            .unwrap_or_default();
        leaders += u32::from(audit.leads && index < 2);
        let find = |what: String| world.find(format!("at rest, replica {index} {what}"));
        if !audit.is_ready {
            find("is not ready".into());
        }
        let known: BTreeSet<_> = audit.nodes.into_iter().collect();
        for node in known.symmetric_difference(&nodes) {
            let whose = if nodes.contains(node) {
                "does not know"
            } else {
                "believes in"
            };
            find(format!("{whose} Node {node:?}"));
        }
        for request in audit.open.iter().filter(|request| !open.contains(*request)) {
            find(format!("believes that {request} is open"));
        }
        if audit.leads {
            for (request, why) in audit.outdated {
                find(format!("has a wrong verdict on {request}: {}", why.text));
            }
        }
    }
    if leaders != 1 {
        world.find(format!("at rest, {leaders} replicas lead"));
    }
}

/// Names of the requests that every replica must judge alike:
///
/// - They are young, and not dated by a wrong clock. By what a replica has seen it keeps others, which are too old
///   for one that starts now.
/// - They are not of a flood, of which each replica keeps a part.
fn comparable(stage: &Stage) -> BTreeSet<String> {
    let now = BEGIN + stage.world.elapsed();
    let objects = stage.world.api.objects("certificatesigningrequests");
    let young = objects.into_iter().filter_map(|object| {
        let metadata = object.get("metadata")?;
        let created: Timestamp = metadata.get("creationTimestamp")?.as_str()?.parse().ok()?;
        let age = now.duration_since(created);
        let is_young = age >= SignedDuration::ZERO && age < MAX_AGE;
        is_young.then(|| Some(metadata.get("name")?.as_str()?.to_owned()))?
    });
    let truth = stage.world.truth();
    let is_of_flood = |name: &String| {
        let asked = truth.content(name);
        asked.is_some_and(|asked| asked.forgery.is_none() && !truth.honest.contains(&asked.node))
    };
    young.filter(|name| !is_of_flood(name)).collect()
}

/// Names, UIDs and addresses of all Nodes, as in audits.
fn nodes(stage: &Stage) -> BTreeSet<(String, String, Vec<String>)> {
    let objects = stage.world.api.objects("nodes").into_iter();
    let node = |object| {
        let object = Value::Object(object);
        let text = |path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let addresses = object
            .pointer("/status/addresses")
            .and_then(Value::as_array);
        let addresses = addresses.into_iter().flatten();
        let addresses = addresses.filter_map(|address| address.get("address")?.as_str());
        let addresses = addresses.map(str::to_owned).collect();
        (text("/metadata/name"), text("/metadata/uid"), addresses)
    };
    objects.map(node).collect()
}

/// Names of the requests without a decision.
fn open_requests(stage: &Stage) -> BTreeSet<String> {
    let objects = stage
        .world
        .api
        .objects("certificatesigningrequests")
        .into_iter();
    let open = objects.filter(|object| {
        let decided = ["Approved", "Denied", "Failed"];
        !decided
            .iter()
            .any(|condition| has_condition(object, condition))
    });
    let name = |object: serde_json::Map<String, Value>| {
        Some(object.get("metadata")?.get("name")?.as_str()?.to_owned())
    };
    open.filter_map(name).collect()
}
