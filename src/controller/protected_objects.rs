//! Watches on the objects that protect names and addresses. What they protect becomes facts; the API
//! servers among them go to the reader of their certificates.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use super::input::{Input, Inputs};
use crate::cluster::apiserver_certificates::ApiServer;
use crate::cluster::list::Undecodable;
use crate::cluster::protected_identities::ProtectedIdentities;
use crate::cluster::protected_objects::{Kind, ProtectedObject, required_object_missing};
use crate::cluster::random::Random;
use crate::cluster::relist::Relist;
use crate::cluster::watch::{Change, Selected, follow};
use judge::evidence::{Fact, Source};

/// Follows the protecting objects of one kind. `servers` receives the API servers that they name.
pub(super) async fn follow_protected_objects(
    kind: Kind,
    selected: Selected,
    random: Random,
    inputs: Inputs,
    servers: Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
) {
    let mut objects = Objects::default();
    let read = |object: ProtectedObject| Some((object.origin(kind), object));
    let send = |change| {
        let mut reports = Vec::new();
        if let Change::Undecodable(object) = &change {
            reports.push(Input::Undecodable(kind.source(), object.clone()));
        }
        let facts = objects.change(change, kind, &servers);
        reports.extend(facts.into_iter().map(Input::Fact));
        let inputs = inputs.clone();
        async move {
            for input in reports {
                if inputs.send(input).await.is_err() {
                    return false;
                }
            }
            true
        }
    };
    follow(selected, &mut Relist::default(), &random, read, send).await;
}

/// Known objects of one kind, by origin.
#[derive(Default)]
struct Objects {
    known: BTreeMap<String, Known>,
    /// Last reported reason why they are incomplete; `None` if they were complete.
    lacking: Option<String>,
    /// Reason why an object cannot be decoded, by origin.
    undecodable: BTreeMap<String, String>,
}

/// State of one object.
struct Known {
    /// Origins of the protections that it makes.
    origins: BTreeSet<String>,
    servers: Vec<ApiServer>,
    namespace: Option<Box<str>>,
    /// Description of a name or address in it that cannot be parsed.
    unreadable: Option<String>,
}

impl Objects {
    fn change(
        &mut self,
        change: Change<String, ProtectedObject>,
        kind: Kind,
        servers: &Option<watch::Sender<Option<BTreeSet<ApiServer>>>>,
    ) -> Vec<Fact> {
        let source = kind.source();
        let mut facts = Vec::new();
        match change {
            Change::Applied { object, is_listed } => {
                facts = self.seen(&object, kind);
                // The state of all objects is known at the end of the list.
                if is_listed {
                    return facts;
                }
                facts.extend(self.change_of_state(source));
            }
            Change::Deleted(origin) => {
                self.undecodable.remove(&origin);
                if let Some(known) = self.known.remove(&origin) {
                    facts.extend(known.origins.into_iter().map(Fact::Unprotected));
                    facts.extend(known.namespace.map(Fact::NamespaceGone));
                }
                facts.extend(self.change_of_state(source));
            }
            Change::Synced => facts.push(self.state(source)),
            Change::Failed(why) => return vec![Fact::Failed(source, why)],
            Change::NotServed(why) => return vec![Fact::NotServed(source, why)],
            // Its protections are unknown.
            Change::Undecodable(Undecodable { name, why }) => {
                let why = format!("{} cannot be decoded: {why}", kind.origin(&name));
                self.undecodable.insert(kind.origin(&name), why);
                facts.extend(self.change_of_state(source));
            }
        }
        if let Some(sender) = servers {
            let all = self.known.values().flat_map(|known| &known.servers);
            let all = Some(all.cloned().collect());
            sender.send_if_modified(|before| {
                *before != all && {
                    *before = all;
                    true
                }
            });
        }
        facts
    }

    fn seen(&mut self, object: &ProtectedObject, kind: Kind) -> Vec<Fact> {
        let ProtectedIdentities {
            protections,
            servers,
            namespace,
            unreadable,
        } = object.protected_identities(kind);
        let origins: BTreeSet<String> =
            protections.iter().map(|part| part.origin.clone()).collect();
        let known = Known {
            origins: origins.clone(),
            servers,
            namespace: namespace.clone(),
            unreadable,
        };
        self.undecodable.remove(&object.origin(kind));
        let before = self.known.insert(object.origin(kind), known);
        let before = before.map(|known| known.origins).unwrap_or_default();
        let gone = before.difference(&origins).cloned();
        let gone = gone.map(Fact::Unprotected);
        gone.chain(protections.into_iter().map(Fact::Protected))
            .chain(namespace.map(Fact::Namespace))
            .collect()
    }

    /// State of the source, if it has changed.
    fn change_of_state(&mut self, source: Source) -> Option<Fact> {
        let has_changed = self.lacking != self.lacks(source);
        has_changed.then(|| self.state(source))
    }

    fn state(&mut self, source: Source) -> Fact {
        self.lacking = self.lacks(source);
        match &self.lacking {
            Some(why) => Fact::Incomplete(source, why.clone()),
            None => Fact::Synced(source),
        }
    }

    /// Reason why the known objects are incomplete, if they are.
    fn lacks(&self, source: Source) -> Option<String> {
        if self.known.is_empty()
            && let Some(why) = required_object_missing(source)
        {
            return Some(why);
        }
        let unreadable = |known: &Known| known.unreadable.clone();
        let undecodable = self.undecodable.values().next().cloned();
        undecodable.or_else(|| self.known.values().find_map(unreadable))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unreachable, clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// State of the source after the last of these changes, if that change reports it.
    fn said(
        objects: &mut Objects,
        kind: Kind,
        changes: Vec<Change<String, ProtectedObject>>,
    ) -> Option<Fact> {
        let all = changes
            .into_iter()
            .flat_map(|change| objects.change(change, kind, &None));
        all.last()
            .filter(|last| matches!(last, Fact::Synced(_) | Fact::Incomplete(..)))
    }

    /// A change that shows this object.
    fn shown(object: &Value, is_listed: bool) -> Change<String, ProtectedObject> {
        let object = serde_json::from_value(object.clone()).unwrap();
        Change::Applied { object, is_listed }
    }

    /// Asserts that the source is incomplete without such an object.
    fn assert_needed(kind: Kind, one: Value, why: &str) {
        let mut objects = Objects::default();
        let none = vec![Change::Synced];
        let lacks = |input: Option<Fact>| match input {
            Some(Fact::Incomplete(of, said)) => {
                assert!(of == kind.source() && said == why, "{said}")
            }
            other => assert!(matches!(other, Some(Fact::Incomplete(..))), "{other:?}"),
        };
        lacks(said(&mut objects, kind, none));
        let seen = |one: &Value| vec![shown(one, false)];
        let synced = said(&mut objects, kind, seen(&one));
        assert!(matches!(synced, Some(Fact::Synced(_))), "{synced:?}");
        let again = said(&mut objects, kind, seen(&one));
        assert!(again.is_none(), "no news, but {again:?}");
        let origin = objects.known.keys().next().unwrap().clone();
        let gone = || Change::Deleted(origin.clone());
        lacks(said(&mut objects, kind, vec![gone()]));
        let listed = vec![shown(&one, true), Change::Synced];
        let synced = said(&mut objects, kind, listed);
        assert!(matches!(synced, Some(Fact::Synced(_))), "{synced:?}");
        let none = vec![gone(), Change::Synced];
        lacks(said(&mut objects, kind, none));
    }

    #[test]
    fn what_every_cluster_has_is_missing_and_not_empty() {
        assert_needed(
            Kind::Service,
            json!({
                "metadata": {"namespace": "default", "name": "kubernetes"},
                "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]},
            }),
            "there is no Service default/kubernetes, which every cluster has",
        );
        assert_needed(
            Kind::ServiceCidr,
            json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}),
            "there is no ServiceCIDR, which every cluster has",
        );
    }

    #[test]
    fn a_cluster_without_cluster_info_has_said_so() {
        let none = vec![Change::Synced];
        let synced = said(&mut Objects::default(), Kind::ConfigMap, none);
        assert!(matches!(synced, Some(Fact::Synced(_))), "{synced:?}");
    }

    /// An object that cannot be parsed makes the source incomplete, whatever it said before.
    #[test]
    fn a_broken_cluster_info_is_missed_until_it_is_fixed() {
        let with = |kubeconfig: &str, is_listed| {
            let object = json!({
                "metadata": {"namespace": "kube-public", "name": "cluster-info"},
                "data": {"kubeconfig": kubeconfig},
            });
            shown(&object, is_listed)
        };
        let mut objects = Objects::default();
        let good = "clusters: [{name: a, cluster: {server: 'https://api.example'}}]";
        let listed = vec![with("[", true), Change::Synced];
        for changes in [listed, vec![with(good, false), with("[", false)]] {
            let broken = said(&mut objects, Kind::ConfigMap, changes);
            let Some(Fact::Incomplete(Source::ClusterInfo, why)) = broken else {
                unreachable!("{broken:?}");
            };
            assert!(
                why.starts_with("ConfigMap kube-public/cluster-info: "),
                "{why}"
            );
        }
        let fixed = said(&mut objects, Kind::ConfigMap, vec![with(good, false)]);
        assert!(matches!(fixed, Some(Fact::Synced(_))), "{fixed:?}");
    }

    /// A removed load balancer has an origin of its own.
    #[test]
    fn a_load_balancer_that_goes_is_unprotected() {
        let with = |ingress: Value| {
            let object = json!({
                "metadata": {"namespace": "default", "name": "kubernetes"},
                "spec": {"clusterIP": "10.96.0.1"},
                "status": {"loadBalancer": {"ingress": ingress}},
            });
            shown(&object, false)
        };
        let mut objects = Objects::default();
        let kind = Kind::Service;
        objects.change(with(json!([{"ip": "192.0.2.7"}])), kind, &None);
        let said = objects.change(with(json!([])), kind, &None);
        let gone = "load balancer of Service default/kubernetes";
        assert!(
            matches!(&said[..], [Fact::Unprotected(origin), Fact::Protected(_)] if origin == gone)
        );
    }
}
