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
/// Number of checks. Only what all of them find is wrong.
const COMPARISONS: usize = 4;
/// Interval of these.
const COMPARE_EVERY: Duration = Duration::from_secs(6);

/// Checks the world: with the Nodes of the attackers, and without them once all kubelets are served.
pub(super) async fn check(stage: &mut Stage) {
    stage.observe();
    sleep(SETTLED + OBSERVED).await;
    find_lasting(stage, differences).await;
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
    find_lasting(stage, wrong_audits).await;
    find_lasting(stage, differences).await;
}

/// Reports what a check finds each time. Kubelets renew meanwhile, so what it finds once may be on its way.
async fn find_lasting(stage: &Stage, check: fn(&Stage) -> BTreeMap<String, String>) {
    let mut lasting: Option<BTreeMap<String, String>> = None;
    for _ in 0..COMPARISONS {
        sleep(COMPARE_EVERY).await;
        let now = check(stage);
        lasting = Some(match lasting {
            None => now,
            Some(mut before) => {
                before.retain(|what, _| now.contains_key(what));
                before
            }
        });
    }
    for (what, how) in lasting.into_iter().flatten() {
        stage.world.find(format!("at rest, {what}: {how}"));
    }
}

/// The requests on which the leader, whose evidence grew with all that happened, and the observer, whose evidence is
/// made of what the API server has now, have different verdicts.
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
    for (request, (verdict, why)) in &observer.verdicts {
        let of_leader = leader.verdicts.get(request);
        if of_leader.map(|(verdict, _)| verdict) != Some(verdict) && compared.contains(request) {
            let how = match of_leader {
                Some((other, why)) => format!("{other} {why}"),
                None => "no such open request".into(),
            };
            let how = format!("the leader has {how}, the state alone gives {verdict} {why}");
            differences.insert(request.clone(), how);
        }
    }
    for (request, (verdict, _)) in &leader.verdicts {
        if !observer.verdicts.contains_key(request) && compared.contains(request) {
            let how = format!("the leader has {verdict}, the state alone has no such open request");
            differences.insert(request.clone(), how);
        }
    }
    differences
}

/// Differences between the replicas' state and the API server's, and a missing or second leader.
fn wrong_audits(stage: &Stage) -> BTreeMap<String, String> {
    let nodes = nodes(stage);
    let open = open_requests(stage);
    let mut leaders = 0;
    let mut wrong = BTreeMap::new();
    for (index, replica) in stage.replicas.iter().enumerate() {
        let audit = replica.audit.lock();
        let audit = audit.map(|audit| audit.clone()).unwrap_or_default();
        leaders += u32::from(audit.leads && index < 2);
        let mut find = |what: String, how: String| {
            wrong.insert(format!("replica {index} {what}"), how);
        };
        if !audit.is_ready {
            find("is not ready".into(), "a source is not".into());
        }
        let known: BTreeSet<_> = audit.nodes.into_iter().collect();
        for node in known.symmetric_difference(&nodes) {
            let whose = if nodes.contains(node) {
                "does not know"
            } else {
                "believes in"
            };
            find(format!("{whose} Node {}", node.0), format!("{node:?}"));
        }
        for request in audit.open.iter().filter(|request| !open.contains(*request)) {
            let how = "the API server has it decided, or not at all";
            find(format!("believes that {request} is open"), how.into());
        }
        if audit.leads {
            for (request, why) in audit.outdated {
                find(format!("has a wrong verdict on {request}"), why.text);
            }
        }
    }
    if leaders != 1 {
        wrong.insert("the replicas".into(), format!("{leaders} lead"));
    }
    wrong
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
