//! Test of NodeRestriction: an impersonated node writes another Node, as a dry run that stores
//! nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node as FullNode;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::json;
use tokio::time::timeout;

use super::Options;
use super::reader::{path, status};
use crate::cluster::connection::{ConnectError, Connection};
use crate::cluster::error::describe;
use crate::cluster::raw_request;
use crate::doctor::facts::{Node, NodeRestriction, ReadFailure};
use judge::csr::{NODE_USER_PREFIX, NODES_GROUP};

/// Name of the impersonated node if the cluster has only one.
const STAND_IN_NODE: &str = "csr-warden-doctor";
/// Part of the API server's message if impersonation is forbidden.
const CANNOT_IMPERSONATE: &str = "cannot impersonate";

pub(super) async fn restriction(
    connection: &Connection,
    options: &Options,
    nodes: Result<&[Node], &ReadFailure>,
) -> NodeRestriction {
    if !options.impersonate {
        return NodeRestriction::NotTried("--no-impersonation was given".into());
    }
    let (target, impersonated) = match nodes {
        Err(_) => return NodeRestriction::NotTried("Nodes could not be listed".into()),
        Ok([]) => return NodeRestriction::NotTried("there is no Node to try it on".into()),
        Ok([target]) => (&target.name, STAND_IN_NODE),
        Ok([target, impersonated, ..]) => (&target.name, impersonated.name.as_str()),
    };
    match client(connection, impersonated) {
        Ok(client) => attempt(&client, target, options.deadline).await,
        Err(error) => NodeRestriction::NotTried(error.to_string()),
    }
}

fn client(connection: &Connection, node: &str) -> Result<Client, ConnectError> {
    let mut config = connection.config.clone();
    config.auth_info.impersonate = Some(format!("{NODE_USER_PREFIX}{node}"));
    config.auth_info.impersonate_groups = Some(vec![
        NODES_GROUP.to_owned(),
        "system:authenticated".to_owned(),
    ]);
    // Those of `--as`.
    config.auth_info.impersonate_uid = None;
    config.auth_info.impersonate_user_extra = None;
    Ok(Connection::with(config)?.writes)
}

/// Tries both the status, which has the addresses, and the Node itself, which has the labels. Each
/// is admitted separately.
async fn attempt(client: &Client, target: &str, deadline: Duration) -> NodeRestriction {
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
        nodes.patch_subresource("status", target, &params, &address),
        nodes.patch(target, &params, &label),
    ] {
        match timeout(deadline, raw_request::response_text(client, request)).await {
            Ok(Ok(_)) => return NodeRestriction::Accepted(target.to_owned()),
            Ok(Err(kube::Error::Api(answer)))
                if answer.code == 403 && !answer.message.contains(CANNOT_IMPERSONATE) =>
            {
                refused.clone_from(&answer.message);
            }
            Ok(Err(error)) if status(&error) == 403 => {
                return NodeRestriction::NotTried(
                    "the rights to impersonate users and groups are missing".into(),
                );
            }
            Ok(Err(error)) => return NodeRestriction::NotTried(describe(&error)),
            Err(_) => {
                let seconds = deadline.as_secs();
                return NodeRestriction::NotTried(format!("no answer within {seconds} s"));
            }
        }
    }
    NodeRestriction::Refused(refused)
}
