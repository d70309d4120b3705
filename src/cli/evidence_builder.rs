//! Objects as kubectl prints them, taken as requests and as evidence, wherever they come from.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::api::DynamicObject;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde_json::Value;

use super::snapshot::Observations;
use crate::cluster::apiserver_certificates::ApiServer;
use crate::cluster::objects::{SlimNode, SlimRequest};
use crate::cluster::protected_objects::{self, CLUSTER_INFO, KUBERNETES_SERVICE, ProtectedObject};
use crate::sources::machines::machine;
use judge::csr::{CsrObject, Request, Settled};
use judge::evidence::{Evidence, Fact, Inventory, Source};
use judge::policy::{MachineKind, Spec};

/// A request that has been taken in.
pub(super) struct Taken {
    pub(super) object: CsrObject,
    /// `spec.request`.
    pub(super) encoded: Vec<u8>,
}

impl Taken {
    /// The request as it is.
    pub(super) fn read(&self) -> Request {
        Request::read(self.object.clone(), &self.encoded)
    }

    /// The request as if it had just been made, and nobody had decided on it.
    pub(super) fn read_as_new(&self, now: Timestamp) -> Request {
        let object = CsrObject {
            created: now,
            settled: None,
            terminating: false,
            ..self.object.clone()
        };
        Request::read(object, &self.encoded)
    }

    /// Whether somebody has approved it.
    pub(super) fn is_approved(&self) -> bool {
        matches!(
            self.object.settled,
            Some(Settled::Approved | Settled::Issued)
        )
    }
}

/// All that has been taken in.
pub(super) struct EvidenceBuilder {
    /// The requests, in the order in which they came.
    pub(super) requests: Vec<Taken>,
    /// All else.
    pub(super) evidence: Evidence,
    /// The sources of which something came.
    pub(super) given: BTreeSet<Source>,
    /// API servers whose certificates say more.
    pub(super) servers: BTreeSet<ApiServer>,
    /// Since when the addresses of Nodes are taken to be what they are.
    pub(super) nodes_since: Timestamp,
    machines: Vec<MachineKind>,
}

impl EvidenceBuilder {
    /// Nothing yet.
    pub(super) fn new(policy: &Spec) -> EvidenceBuilder {
        let machines = policy.sources.machines.clone();
        EvidenceBuilder {
            requests: Vec::new(),
            evidence: Evidence::new(policy),
            given: BTreeSet::new(),
            servers: BTreeSet::new(),
            nodes_since: Timestamp::UNIX_EPOCH,
            machines,
        }
    }

    /// Takes in an object, or each of a List.
    pub(super) fn take(&mut self, object: Value) -> Result<()> {
        let kind = text_at(&object, "/kind");
        let place = (
            text_at(&object, "/metadata/namespace"),
            text_at(&object, "/metadata/name"),
        );
        let is = |(namespace, name): (&str, &str)| place.0 == namespace && place.1 == name;
        match kind.as_str() {
            "List" => {
                let Some(Value::Array(items)) = object.get("items").cloned() else {
                    bail!("expected `items` in a List");
                };
                items.into_iter().try_for_each(|item| self.take(item))
            }
            "CertificateSigningRequest" => {
                let encoded = object.pointer("/spec/request").and_then(Value::as_str);
                if encoded.is_some_and(|text| !is_base64(text)) {
                    bail!("{kind} `{}`: spec.request is no base64", place.1);
                }
                let (object, encoded) = typed::<SlimRequest>(object)?.split();
                self.take_request(Taken { object, encoded });
                Ok(())
            }
            "Node" => {
                let node = typed::<SlimNode>(object)?.into_evidence(self.nodes_since);
                let node = node.ok_or_else(|| anyhow!("Node `{}`: no name of a Node", place.1))?;
                self.apply(Fact::Node(Box::new(node)));
                self.given.insert(Source::Nodes);
                Ok(())
            }
            "Service" if is(KUBERNETES_SERVICE) => {
                self.protect(object, protected_objects::Kind::Service)
            }
            "EndpointSlice" if place.0 == KUBERNETES_SERVICE.0 => {
                let of = text_at(&object, "/metadata/labels/kubernetes.io~1service-name");
                if of == KUBERNETES_SERVICE.1 {
                    return self.protect(object, protected_objects::Kind::EndpointSlice);
                }
                Ok(())
            }
            "ServiceCIDR" => self.protect(object, protected_objects::Kind::ServiceCidr),
            "ConfigMap" if is(CLUSTER_INFO) => {
                self.protect(object, protected_objects::Kind::ConfigMap)
            }
            "Service" | "EndpointSlice" | "ConfigMap" => Ok(()),
            "Inventory" => {
                // JSON is YAML.
                self.take_inventory(Inventory::parse(&object.to_string())?);
                Ok(())
            }
            "Policy" if text_at(&object, "/apiVersion").starts_with("csr-warden.dev/") => {
                bail!("expected a request or evidence, found a Policy: name it with --policy")
            }
            "Observations" => Observations::read(object)?.give(self),
            other => self.take_machine(other, object),
        }
    }

    fn take_machine(&mut self, kind: &str, object: Value) -> Result<()> {
        let group = text_at(&object, "/apiVersion");
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let of = |known: &&MachineKind| known.group == group && known.kind == kind;
        let Some(kind) = self.machines.iter().find(of) else {
            bail!(
                "expected a CertificateSigningRequest, Node, Service, EndpointSlice, ServiceCIDR, \
                 ConfigMap, Inventory, Observations, a Machine that the policy names, or a List of \
                 these, found kind `{kind}`"
            );
        };
        let machine = machine(kind, &typed::<DynamicObject>(object)?);
        self.apply(Fact::Machine(Box::new(machine)));
        self.given.insert(Source::Machines);
        Ok(())
    }

    /// The administrator's inventory is this.
    pub(super) fn take_inventory(&mut self, inventory: Inventory) {
        self.apply(Fact::Inventory(Box::new(inventory)));
        self.given.insert(Source::Inventory);
    }

    /// Takes in a request. The key of one that is approved is in use by its node.
    pub(super) fn take_request(&mut self, taken: Taken) {
        if taken.is_approved()
            && let Some(node) = taken.object.requestor.node()
            && let Some(key) = Request::key_of(&taken.encoded)
        {
            self.apply(Fact::Key(key, node));
        }
        self.requests.push(taken);
    }

    fn apply(&mut self, fact: Fact) {
        self.evidence.apply(fact, self.nodes_since);
    }

    fn protect(&mut self, object: Value, kind: protected_objects::Kind) -> Result<()> {
        let object: ProtectedObject = typed(object)?;
        self.given.insert(kind.source());
        let identities = object.protected_identities(kind);
        if let Some(why) = identities.unreadable {
            bail!("{why}");
        }
        for part in identities.protections {
            self.apply(Fact::Protected(part));
        }
        self.servers.extend(identities.servers);
        Ok(())
    }
}

/// The object as this type; the error names it. Through its text, since what reads the API server's
/// answers reads texts.
pub(super) fn typed<T: DeserializeOwned>(object: Value) -> Result<T> {
    let (kind, name) = (
        text_at(&object, "/kind"),
        text_at(&object, "/metadata/name"),
    );
    serde_json::from_str(&object.to_string()).map_err(|error| {
        let error = error.to_string();
        // Nobody has seen that text.
        let (why, _) = error.rsplit_once(" at line ").unwrap_or((&error, ""));
        anyhow!("{kind} `{name}`: {why}")
    })
}

/// The decoder's own error does not say what was expected.
fn is_base64(text: &str) -> bool {
    ByteString::deserialize(StrDeserializer::<ValueError>::new(text)).is_ok()
}

/// The text at this place; empty if there is none.
pub(super) fn text_at(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
