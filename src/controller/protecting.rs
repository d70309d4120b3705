//! The watches on the objects that say what is protected: what each protects goes on as input, and
//! the API servers among it to whoever reads their certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use kube::api::Api;
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::feeds::{Input, Inputs};
use crate::cluster::certificates::ApiServer;
use crate::cluster::protected::ProtectingObject;
use crate::cluster::watch::{Change, follow};
use crate::evidence::Source;

/// Follows the objects of one kind that protect something. `servers` is told of all API servers
/// among them.
pub(super) async fn follow_protecting<K>(
    api: Api<K>,
    config: watcher::Config,
    source: Source,
    inputs: Inputs,
    servers: Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
) where
    K: ProtectingObject + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let known = Arc::new(Mutex::new(Objects::default()));
    follow(api, config, |change| {
        let inputs = inputs.clone();
        let servers = servers.clone();
        let known = known.clone();
        async move {
            let messages = match known.lock() {
                Ok(mut known) => known.change(change, source, &servers),
                Err(_) => return false,
            };
            for message in messages {
                if inputs.send(message).await.is_err() {
                    return false;
                }
            }
            true
        }
    })
    .await;
}

/// The objects of one kind that are there, with the API servers that each names.
#[derive(Default)]
struct Objects {
    servers: BTreeMap<String, Vec<ApiServer>>,
    listed: BTreeSet<String>,
    listing: bool,
}

impl Objects {
    fn change<K: ProtectingObject>(
        &mut self,
        change: Change<K>,
        source: Source,
        servers: &Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
    ) -> Vec<Input> {
        let mut messages = Vec::new();
        match change {
            Change::Restarted => {
                self.listing = true;
                self.listed.clear();
            }
            Change::Seen(object) => {
                let protects = object.protects();
                let origin = object.origin();
                self.listed.insert(origin.clone());
                self.servers.insert(origin.clone(), protects.servers);
                messages.push(Input::Protected {
                    origin,
                    kind: K::IDENTITY,
                    sans: protects.sans,
                    networks: protects.networks,
                });
            }
            Change::Gone(object) => {
                let origin = object.origin();
                self.servers.remove(&origin);
                messages.push(Input::Unprotected(origin));
            }
            Change::Complete => {
                self.listing = false;
                let listed = std::mem::take(&mut self.listed);
                let gone = self
                    .servers
                    .extract_if(.., |origin, _| !listed.contains(origin));
                messages.extend(gone.map(|(origin, _)| Input::Unprotected(origin)));
                messages.push(Input::Synced(source));
            }
            Change::Failed(why) => messages.push(Input::Failed(source, why)),
        }
        if let Some(sender) = servers
            && !self.listing
        {
            let all = Some(self.servers.values().flatten().cloned().collect());
            sender.send_if_modified(|before| {
                *before != all && {
                    *before = all;
                    true
                }
            });
        }
        messages
    }
}
