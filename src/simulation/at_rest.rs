//! Checks of a world at rest: no faults, no attackers, and time enough for everything to be decided.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::run::Stage;
use super::world::has_condition;

/// Interval of the checks.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// The longest time until every kubelet is served: the signer's pause, a request that is given up after
/// 15 minutes, and the next one.
const MOST: Duration = Duration::from_secs(40 * 60);
/// The time after which nothing is left to be read.
const SETTLED: Duration = Duration::from_secs(90);

/// Checks the world once all kubelets have been served.
pub(super) async fn check(stage: &Stage) {
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
        leaders += u32::from(audit.leads);
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
