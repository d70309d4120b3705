//! Whether a kubelet may write another node's Node: tried as a dry run, as which nothing is stored.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node as FullNode;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::json;
use tokio::time::timeout;

use super::Options;
use super::reader::{path, status};
use crate::cluster::connection::Connection;
use crate::cluster::error::describe;
use crate::cluster::raw_request;
use crate::doctor::facts::{Node, Restriction, Unread};
use judge::csr::{NODE_USER_PREFIX, NODES_GROUP};

/// Asks as this node if there is no second one.
const NOBODY: &str = "csr-warden-doctor";
/// Part of the API server's answer if we may not act as somebody else.
const CANNOT_IMPERSONATE: &str = "cannot impersonate";

pub(super) async fn restriction(
    connection: &Connection,
    options: &Options,
    nodes: Result<&[Node], &Unread>,
) -> Restriction {
    if !options.impersonate {
        return Restriction::Untried("--no-impersonation was given".into());
    }
    let (victim, thief) = match nodes {
        Err(_) => return Restriction::Untried("Nodes could not be listed".into()),
        Ok([]) => return Restriction::Untried("there is no Node to try it on".into()),
        Ok([victim]) => (&victim.name, NOBODY),
        Ok([victim, thief, ..]) => (&victim.name, thief.name.as_str()),
    };
    match client(connection, thief, options.deadline) {
        Ok(client) => attempt(&client, victim, options.deadline).await,
        Err(error) => Restriction::Untried(error.to_string()),
    }
}

fn client(connection: &Connection, node: &str, deadline: Duration) -> kube::Result<Client> {
    let mut config = connection.config.clone();
    config.auth_info.impersonate = Some(format!("{NODE_USER_PREFIX}{node}"));
    config.auth_info.impersonate_groups = Some(vec![
        NODES_GROUP.to_owned(),
        "system:authenticated".to_owned(),
    ]);
    config.connect_timeout = Some(deadline);
    config.read_timeout = Some(deadline);
    config.write_timeout = Some(deadline);
    config.default_retry = false;
    Client::try_from(config)
}

/// Addresses stand in the status and labels in the Node itself, and each is admitted by itself.
async fn attempt(client: &Client, victim: &str, deadline: Duration) -> Restriction {
    let nodes = Request::new(path::<FullNode>(None));
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let label = Patch::Merge(json!({"metadata": {"labels": {"csr-warden/doctor": "dry-run"}}}));
    let address = Patch::Merge(json!({
        "status": {"addresses": [{"type": "Hostname", "address": "csr-warden-doctor"}]},
    }));
    let mut refused = String::new();
    for request in [
        nodes.patch_subresource("status", victim, &params, &address),
        nodes.patch(victim, &params, &label),
    ] {
        match timeout(deadline, raw_request::text(client, request)).await {
            Ok(Ok(_)) => return Restriction::Accepted(victim.to_owned()),
            Ok(Err(kube::Error::Api(answer)))
                if answer.code == 403 && !answer.message.contains(CANNOT_IMPERSONATE) =>
            {
                refused.clone_from(&answer.message);
            }
            Ok(Err(error)) if status(&error) == 403 => {
                return Restriction::Untried(
                    "the rights to impersonate users and groups are missing".into(),
                );
            }
            Ok(Err(error)) => return Restriction::Untried(describe(&error)),
            Err(_) => {
                let seconds = deadline.as_secs();
                return Restriction::Untried(format!("no answer within {seconds} s"));
            }
        }
    }
    Restriction::Refused(refused)
}
