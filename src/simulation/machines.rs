//! The controller of Machines: objects that describe the machine of each kubelet, and follow it late.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::sleep;

use super::network::Client;

/// The collection of Machines.
pub(super) const MACHINES: &str =
    "/apis/networking.k8s.io/v1/namespaces/kube-system/networkpolicies";
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Makes the Machine of a Node, or gives it this address, after a delay.
pub(super) fn set(client: &Client, node: &str, address: IpAddr, after: Duration) {
    let (client, node) = (client.clone(), node.to_owned());
    let change = client.world.truth().machine_planned(&node, Some(address));
    tokio::spawn(async move {
        sleep(after).await;
        let annotations = json!({
            "node": node, "provider": provider_id(&node), "address": address.to_string(),
        });
        let machine = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": node, "annotations": annotations},
        });
        let path = format!("{MACHINES}/{node}");
        while client.world.truth().is_latest_machine(&node, change) {
            let made = client.call(Method::POST, MACHINES, Some(machine.clone()), None);
            match made.await {
                Ok((201, _)) => return,
                Ok((409, _)) => {
                    let body = json!({"metadata": {"annotations": annotations}});
                    if let Ok((200, _)) = client.call(Method::PATCH, &path, Some(body), None).await
                    {
                        return;
                    }
                }
                Ok(_) | Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    });
}

/// Deletes the Machine of a Node after a delay.
pub(super) fn delete(client: &Client, node: &str, after: Duration) {
    let (client, node) = (client.clone(), node.to_owned());
    let change = client.world.truth().machine_planned(&node, None);
    tokio::spawn(async move {
        sleep(after).await;
        let path = format!("{MACHINES}/{node}");
        while client.world.truth().is_latest_machine(&node, change) {
            match client.call(Method::DELETE, &path, None, None).await {
                Ok((200 | 404, _)) => return,
                Ok(_) | Err(_) => sleep(PAUSE).await,
            }
        }
    });
}

/// The provider ID of a node's machine.
pub(super) fn provider_id(node: &str) -> String {
    format!("simulation://{node}")
}
