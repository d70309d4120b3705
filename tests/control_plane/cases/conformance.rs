//! Conformance of the embedded API server. The same requests are sent to it and to kube-apiserver.
//! The responses must be equal for clients, except for the differences in `known_differences.rs`.

mod authorization;
mod daemon;
mod deletions;
mod exchange;
mod fields;
mod formats;
mod known_differences;
mod kubectl;
mod kubectl_files;
mod kubectl_session;
mod lists;
mod objects;
mod patches;
mod protobuf;
mod requests;
mod samples;
mod watches;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apiserver_sim::{Options as SimOptions, Server};
use kube::Client;
use kube::config::{Config, KubeConfigOptions};
use serde_json::Value;

use crate::{Case, Needs};
use control_plane::assets::Assets;
use control_plane::cluster::{Cluster, Options};
use exchange::{Recorder, Users};
use known_differences::KnownDifference;
use protobuf::Encoded;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "conformance_of_the_embedded_api_server",
            Needs::Nothing,
            same_answers,
        ),
        Case::new(
            "conformance_kubectl_on_the_embedded_api_server",
            Needs::Nothing,
            kubectl::same_output,
        ),
        Case::new(
            "conformance_daemon_on_the_embedded_api_server",
            Needs::Nothing,
            daemon::approves,
        ),
    ]
}

/// All users, each with a credential.
const USERS: [(&str, &str, &[&str]); 4] = [
    ("admin", "kubernetes-admin", &["system:masters"]),
    ("node", "system:node:conf-1", &["system:nodes"]),
    ("other", "system:node:conf-2", &["system:nodes"]),
    ("jane", "jane", &[]),
];

/// The minimum number of facts to compare.
const LEAST: usize = 240;

async fn same_answers(assets: Arc<Assets>) -> Result<()> {
    let options = Options {
        signer: false,
        ..Options::default()
    };
    let cluster = Cluster::start(&assets, options).await?;
    let mut real = Users::new();
    for (short, user, groups) in USERS {
        real.insert(short, cluster.client_for(user, groups).await?);
    }
    let server = Server::start(SimOptions::default()).await?;
    let mut embedded = Users::new();
    for (short, user, groups) in USERS {
        embedded.insert(short, client(&server, user, groups).await?);
    }
    let encoded = protobuf::encode(&real).await?;
    let real = observe(&real, &encoded).await.context("the original")?;
    let embedded = observe(&embedded, &encoded)
        .await
        .context("the embedded one")?;
    compare(&real, &embedded, known_differences::ANSWERS, LEAST)
}

async fn client(server: &Server, user: &str, groups: &[&str]) -> Result<Client> {
    let kubeconfig = server.kubeconfig(user, groups)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

/// Runs all cases in order. Each depends on the state that the previous ones have left.
async fn observe(users: &Users, encoded: &[Encoded]) -> Result<BTreeMap<String, Value>> {
    let mut recorder = Recorder::new(users);
    objects::observe(&mut recorder).await.context("objects")?;
    patches::observe(&mut recorder).await.context("patches")?;
    lists::observe(&mut recorder).await.context("lists")?;
    deletions::observe(&mut recorder)
        .await
        .context("deletions")?;
    formats::observe(&mut recorder).await.context("formats")?;
    protobuf::observe(&mut recorder, encoded)
        .await
        .context("protobuf")?;
    fields::observe(&mut recorder).await.context("fields")?;
    requests::observe(&mut recorder).await.context("requests")?;
    authorization::observe(&mut recorder)
        .await
        .context("rights")?;
    watches::observe(&mut recorder).await.context("watches")?;
    Ok(recorder.facts)
}

/// Prints the table of results. Any unknown difference is an error, and any known one that has
/// disappeared.
fn compare(
    real: &BTreeMap<String, Value>,
    embedded: &BTreeMap<String, Value>,
    known: &[KnownDifference],
    least: usize,
) -> Result<()> {
    let mut different = Vec::new();
    let missing = known.iter().filter(|one| !real.contains_key(one.fact));
    different.extend(missing.map(|one| format!("{}: known to differ, but not observed", one.fact)));
    for (name, expected) in real {
        let found = embedded.get(name).unwrap_or(&Value::Null);
        let verdict = match KnownDifference::find(known, name) {
            Some(one) if one.is(expected, found) => format!("KNOWN     {name}: {}", one.reason),
            None if found == expected => format!("same      {name}"),
            Some(_) | None => {
                different.push(format!(
                    "{name}\n  original: {expected}\n  embedded: {found}"
                ));
                format!("DIFFERENT {name}")
            }
        };
        println!("{verdict}");
    }
    println!("{} cases, {} differences", real.len(), different.len());
    ensure!(different.is_empty(), "\n{}", different.join("\n"));
    ensure!(
        real.len() == embedded.len() && real.len() >= least,
        "expected at least {least} cases on each, found {} and {}",
        real.len(),
        embedded.len()
    );
    Ok(())
}

/// Writes a kubeconfig file for a client of the embedded API server.
fn write_kubeconfig(server: &Server, user: &str, groups: &[&str], file: &Path) -> Result<()> {
    let kubeconfig = serde_json::to_string(&server.kubeconfig(user, groups)?)?;
    std::fs::write(file, kubeconfig).context("write a kubeconfig")
}
