//! Requests that the kubelet's own code makes for random addresses of its Node. All must be
//! approved, with every kind of key that Kubernetes signs. `CSR_WARDEN_KUBELETS` sets the number of
//! Nodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use judge::Decision;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Case, Needs, random_addresses};
use control_plane::assets::Assets;
use control_plane::json_lines::ask;
use testkit::cluster::NodeSpec;
use testkit::policies::BasePolicy;
use testkit::random::Random;
use testkit::strategies::Address;
use testkit::vector::{Outcome, Vector};

/// The default number of Nodes, which takes a few seconds with a debug build.
const KUBELETS: usize = 420;
/// The kubelet's own kind of key, and the others that Kubernetes signs.
const KEYS: [&str; 7] = [
    "P-256", "P-384", "P-521", "Ed25519", "RSA-2048", "RSA-3072", "RSA-4096",
];

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "kubelets_own_requests_are_approved",
        Needs::Nothing,
        approved,
    )]
}

/// A simulated kubelet, see `go/asker`.
#[derive(Clone, Debug, Serialize)]
struct Kubelet {
    node: String,
    addresses: Vec<Entry>,
    key: &'static str,
}

/// An entry of `status.addresses`.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

/// Its request. Empty if it makes none.
#[derive(Deserialize)]
struct Answer {
    pem: Option<String>,
    #[serde(default)]
    usages: Vec<String>,
    #[serde(default)]
    signer: String,
}

async fn approved(assets: Arc<Assets>) -> Result<()> {
    let wanted = std::env::var("CSR_WARDEN_KUBELETS").ok();
    let wanted: usize = wanted.map_or(Ok(KUBELETS), |text| text.parse())?;
    let mut random = Random::new(1);
    let kubelets: Vec<Kubelet> = (0..wanted)
        .map(|index| kubelet(KEYS[index % KEYS.len()], &mut random))
        .collect();
    let answers: Vec<Answer> = ask(&assets.asker, &kubelets)?;
    let mut counts: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut refused = Vec::new();
    for (kubelet, answer) in kubelets.iter().zip(&answers) {
        let end = match judged(kubelet, answer)? {
            None => "nothing asked".to_owned(),
            Some([default, strict]) => {
                if default.verdict != Decision::Approve || strict.verdict != Decision::Approve {
                    refused.push(kubelet);
                }
                format!("{}, strict {}", default.verdict, strict.verdict)
            }
        };
        *counts
            .entry(kubelet.key)
            .or_default()
            .entry(end)
            .or_default() += 1;
    }
    for (key, ends) in &counts {
        eprintln!("kubelets, {key}: {ends:?}");
    }
    if let Some(first) = refused.first() {
        let (count, least) = (refused.len(), least(&assets.asker, first)?);
        bail!("{count} not approved, such as {least}");
    }
    Ok(())
}

fn kubelet(key: &'static str, random: &mut Random) -> Kubelet {
    let (node, addresses) = random_addresses::node(random);
    let entry = |(kind, address)| Entry { kind, address };
    Kubelet {
        node,
        addresses: addresses.into_iter().flatten().map(entry).collect(),
        key,
    }
}

/// Returns the verdicts by the default policy, and by the strict policy without independent proof.
/// `None` if there is no request and none is expected.
fn judged(kubelet: &Kubelet, answer: &Answer) -> Result<Option<[Outcome; 2]>> {
    let mut vector = Vector::genuine();
    vector.requestor.username = format!("system:node:{}", kubelet.node);
    vector.object.usages.clone_from(&answer.usages);
    vector.object.signer.clone_from(&answer.signer);
    let entry = |entry: &Entry| Address::from([(entry.kind.clone(), entry.address.clone())]);
    vector.nodes = vec![NodeSpec {
        name: kubelet.node.clone(),
        addresses: kubelet.addresses.iter().map(entry).collect(),
        ..NodeSpec::default()
    }];
    vector.policy = Some(json!({
        "proof": {"ipAddresses": {"anyOf": []}, "nodeName": {"anyOf": []}, "dnsNames": {"anyOf": []}},
        "names": {"serviceLike": "Allow"},
    }));
    let expected = vector.nodes[0].node().has_ip();
    ensure!(
        expected == answer.pem.is_some(),
        "a request was expected: {expected}, {kubelet:?}"
    );
    Ok(answer.pem.as_ref().map(|text| {
        let outcome = |base| vector.outcome_of(text.as_bytes(), base);
        BasePolicy::ALL.map(outcome)
    }))
}

/// Returns the smallest set of this kubelet's addresses that is not approved, with the reason.
fn least(asker: &Path, kubelet: &Kubelet) -> Result<String> {
    let outcomes = |kubelet: &Kubelet| -> Result<Option<[Outcome; 2]>> {
        let answers: Vec<Answer> = ask(asker, std::slice::from_ref(kubelet))?;
        judged(kubelet, &answers[0])
    };
    let mut least = kubelet.clone();
    let mut at = 0;
    while at < least.addresses.len() {
        let mut fewer = least.clone();
        fewer.addresses.remove(at);
        let refused = |outcome: &Outcome| outcome.verdict != Decision::Approve;
        match outcomes(&fewer)? {
            Some(found) if found.iter().any(refused) => least = fewer,
            _ => at += 1,
        }
    }
    let found = outcomes(&least)?.map(|[default, strict]| format!("{default}, strict {strict}"));
    Ok(format!("{least:?}: {}", found.unwrap_or_default()))
}
