//! Reload of the administrator's files, the policy and the inventory, and watches on the Machines that
//! the policy names.

use kube::Client;
use tokio::sync::watch;

use super::input::{InForce, Input, Inputs};
use crate::cluster::random::Random;
use crate::sources::machine_watch;
use crate::sources::replaced_file::{self, FileVersion};
use judge::evidence::{Fact, Inventory, Source};
use judge::policy::parse;

/// Files and sources that the administrator sets up.
#[derive(Clone)]
pub struct Setup {
    /// The policy's file, if it is in one.
    pub policy: Option<FileVersion>,
    /// The inventory, if there is one.
    pub inventory: Option<InventoryFile>,
    /// The API server that has the Machines.
    pub machines: Client,
    /// The CA certificates that kubelets' certificates are verified with, in DER.
    pub kubelet_authorities: Vec<Vec<u8>>,
    /// Texts of policies that come instead of a file.
    #[cfg(test)]
    pub(crate) policies: Option<Policies>,
}

/// Texts of policies, for simulations.
#[cfg(test)]
pub(crate) type Policies =
    std::sync::Arc<tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<String>>>;

/// An inventory file as it was at startup.
#[derive(Clone, Debug)]
pub struct InventoryFile {
    /// The file.
    pub file: FileVersion,
    /// The parsed inventory.
    pub inventory: Inventory,
}

impl Setup {
    /// Starts a task for each; they end when the receiver of inputs is dropped.
    pub(super) fn start(self, policy: &watch::Receiver<InForce>, random: &Random, inputs: &Inputs) {
        if let Some(file) = self.policy {
            tokio::spawn(follow_policy(file, inputs.clone()));
        }
        #[cfg(test)]
        if let Some(policies) = self.policies {
            let inputs = inputs.clone();
            tokio::spawn(async move {
                while let Some(text) = policies.lock().await.recv().await {
                    if inputs.send(read_policy(Ok(text))).await.is_err() {
                        return;
                    }
                }
            });
        }
        if let Some(source) = self.inventory {
            tokio::spawn(follow_inventory(source.file, inputs.clone()));
        }
        tokio::spawn(follow_machines(
            self.machines,
            policy.clone(),
            random.clone(),
            inputs.clone(),
        ));
    }
}

async fn follow_policy(file: FileVersion, inputs: Inputs) {
    replaced_file::follow(file, |text| {
        let inputs = inputs.clone();
        let input = read_policy(text.map_err(|error| error.to_string()));
        async move { inputs.send(input).await.is_ok() }
    })
    .await;
}

fn read_policy(text: Result<String, String>) -> Input {
    let read = text.and_then(|text| parse(&text).map_err(|why| why.to_string()));
    Input::Policy(read.map(Box::new))
}

async fn follow_inventory(file: FileVersion, inputs: Inputs) {
    replaced_file::follow(file, |text| {
        let inputs = inputs.clone();
        let text = text.map_err(|error| error.to_string());
        let read = text.and_then(|text| Inventory::parse(&text).map_err(|why| why.to_string()));
        async move {
            let fact = match read {
                Ok(inventory) => {
                    let read = Fact::Inventory(Box::new(inventory));
                    if inputs.send(Input::Fact(read)).await.is_err() {
                        return false;
                    }
                    Fact::Synced(Source::Inventory)
                }
                Err(why) => Fact::Failed(Source::Inventory, why),
            };
            inputs.send(Input::Fact(fact)).await.is_ok()
        }
    })
    .await;
}

/// Watches the kinds of Machines that the policy in force names.
async fn follow_machines(
    client: Client,
    mut in_force: watch::Receiver<InForce>,
    random: Random,
    inputs: Inputs,
) {
    loop {
        let InForce { policy, generation } = in_force.borrow_and_update().clone();
        let sender = inputs.clone();
        let send = move |report| {
            let sender = sender.clone();
            let input = match report {
                Ok(fact) => Input::Machines(generation, fact),
                Err(object) => Input::Undecodable(Source::Machines, object),
            };
            async move { sender.send(input).await.is_ok() }
        };
        let kinds = policy.spec.sources.machines.clone();
        let watches = async {
            if kinds.is_empty() {
                inputs.closed().await;
            } else {
                machine_watch::follow_all(client.clone(), kinds, &random, send).await;
            }
        };
        tokio::select! {
            biased;
            () = watches => return,
            changed = in_force.wait_for(|now| now.generation != generation) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
