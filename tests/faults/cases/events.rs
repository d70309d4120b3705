//! Events that the API server refuses, while requests wait: decisions go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use apiserver_sim::{Fault, Faults};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use lab::request::Template;
use rcgen::KeyPair;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::budgets::{OF_ONE, median_of};
use super::load::post_request;
use crate::Case;
use crate::scale::Scale;
use crate::scenario::{Measured, all_served, end, memory, no_forgery_was_approved};
use crate::test_cluster::{ATTACKER_PREFIX, TestCluster};

const SOON: Duration = Duration::from_secs(60);
/// The limit of Events on the requests of one node in an hour.
const MOST: usize = 6;
/// The number of kubelets that ask during the fault.
const KUBELETS: usize = 8;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded_events_forbidden",
            "the right to write Events is missing while a node floods requests that wait",
            |scale| refused(scale, Refusal::Forbidden),
        ),
        Case::new(
            "embedded_events_429",
            "every Event is answered with 429 while a node floods requests that wait",
            |scale| refused(scale, Refusal::Fault(Fault::TooManyRequests(1))),
        ),
        Case::new(
            "embedded_events_hang",
            "no Event is answered while a node floods requests that wait",
            |scale| refused(scale, Refusal::Fault(Fault::Hang)),
        ),
    ]
}

enum Refusal {
    Forbidden,
    Fault(Fault),
}

async fn set_rules(test_cluster: &TestCluster, rules: serde_json::Value) -> Result<()> {
    let roles: Api<Role> = Api::namespaced(test_cluster.admin()?, "default");
    let patch = Patch::Merge(json!({"rules": rules}));
    let params = PatchParams::default();
    roles
        .patch("csr-warden-api-server", &params, &patch)
        .await?;
    Ok(())
}

async fn events(test_cluster: &TestCluster, kind: &str) -> Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(test_cluster.admin()?, "default");
    let mut found = api.list(&ListParams::default()).await?.items;
    found.retain(|event| {
        let regarding = event.regarding.as_ref();
        regarding.and_then(|object| object.kind.as_deref()) == Some(kind)
    });
    Ok(found)
}

async fn refused(scale: Scale, refusal: Refusal) -> Result<Measured> {
    let mut test_cluster = TestCluster::embedded().await?;
    test_cluster.start(&["one"], &[]).await?;
    let admin = test_cluster.admin()?;
    let before = memory(&test_cluster, 0)?;
    let roles: Api<Role> = Api::namespaced(admin.clone(), "default");
    let rules = json!(roles.get("csr-warden-api-server").await?.rules);
    match refusal {
        Refusal::Forbidden => {
            let others = rules.as_array().cloned().unwrap_or_default();
            let others = others
                .into_iter()
                .filter(|rule| rule["resources"] != json!(["events"]));
            set_rules(&test_cluster, others.collect()).await?;
        }
        Refusal::Fault(fault) => {
            let faults = ["create", "patch"]
                .iter()
                .fold(Faults::default(), |all, verb| {
                    all.with(fault.clone(), 1.0, verb, "/events")
                });
            test_cluster.server()?.set_faults(faults);
        }
    }
    let begun = Instant::now();
    let thief = format!("{ATTACKER_PREFIX}1");
    let pem =
        Template::genuine(&thief, std::slice::from_ref(&thief), &[]).pem(&KeyPair::generate()?)?;
    for _ in 0..OF_ONE {
        post_request(&admin, &thief, &pem).await?;
    }
    let refused = "cannot write an Event";
    test_cluster.replicas[0].wait_for_log(refused, SOON).await?;
    median_of(&test_cluster, 1..KUBELETS + 1).await?;
    let written = events(&test_cluster, "CertificateSigningRequest").await?;
    ensure!(written.is_empty(), "{written:#?}");
    let lasted = begun.elapsed();

    test_cluster.server()?.set_faults(Faults::default());
    set_rules(&test_cluster, rules).await?;
    let ended = Instant::now();
    loop {
        let nodes = events(&test_cluster, "Node").await?;
        let of_thief = |event: &Event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            regarding.name.as_deref() == Some(thief.as_str())
        };
        if nodes.iter().any(of_thief) {
            ensure!(nodes.len() == 1, "{nodes:#?}");
            break;
        }
        ensure!(ended.elapsed() < 2 * SOON, "no Event on {thief}");
        sleep(Duration::from_millis(100)).await;
    }
    let recovered = ended.elapsed();
    median_of(&test_cluster, KUBELETS + 1..KUBELETS + 2).await?;
    let written = events(&test_cluster, "CertificateSigningRequest").await?;
    ensure!(written.len() <= MOST, "{written:#?}");
    let served = all_served(&test_cluster, scale.patience).await?;
    no_forgery_was_approved(&test_cluster).await?;
    let after = memory(&test_cluster, 0)?;
    end(&mut test_cluster).await?;
    Ok(Measured {
        lasted,
        served,
        denied: 0,
        recovered,
        memory: (before, after),
        note: format!("{} Events on requests", written.len()),
    })
}
