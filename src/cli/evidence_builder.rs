//! Evidence of a command: objects as kubectl prints them, turned into facts by the conversions of the
//! daemon, and applied once, in an order that does not depend on that of the files.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::api::DynamicObject;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde_json::Value;

use crate::cluster::apiserver_certificates::ApiServer;
use crate::cluster::objects::{SlimNode, SlimRequest, key_in_use};
use crate::cluster::protected_objects::{Kind, ProtectedObject};
use crate::sources::machines::machine;
use judge::csr::{CsrObject, Request};
use judge::evidence::{Evidence, Fact, Node, Source};
use judge::policy::{MachineKind, Spec};

/// A fact, and the time at which it was found out.
pub(super) type Dated = (Fact, Timestamp);

/// A request that has been read.
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

    /// The request as if it had just been made, and no one had decided on it.
    pub(super) fn read_as_new(&self, now: Timestamp) -> Request {
        let object = CsrObject {
            created: now,
            settled: None,
            terminating: false,
            ..self.object.clone()
        };
        Request::read(object, &self.encoded)
    }

    /// The key that is in use because of the request, if it is approved. It is so since the request
    /// was made: of two nodes with one key, the first to ask owns it.
    pub(super) fn key_in_use(&self) -> Option<Dated> {
        let fact = key_in_use(&self.object, &self.encoded)?;
        Some((fact, self.object.created))
    }
}

/// Facts and requests, collected from objects and files.
pub(super) struct EvidenceBuilder {
    /// The requests, in the order in which they came.
    pub(super) requests: Vec<Taken>,
    /// The sources of which something was read, or is stated.
    pub(super) given: BTreeSet<Source>,
    /// API servers whose certificates protect more.
    pub(super) servers: BTreeSet<ApiServer>,
    machine_kinds: Vec<MachineKind>,
    /// The Nodes; since when they have their addresses is decided at the end.
    nodes: Vec<Node>,
    /// What the other objects show.
    shown: Vec<Fact>,
    /// What no object shows.
    stated: Vec<Dated>,
}

impl EvidenceBuilder {
    /// A builder without any facts. Machines are of the kinds that the policy names.
    pub(super) fn new(policy: &Spec) -> EvidenceBuilder {
        EvidenceBuilder {
            requests: Vec::new(),
            given: BTreeSet::new(),
            servers: BTreeSet::new(),
            machine_kinds: policy.sources.machines.clone(),
            nodes: Vec::new(),
            shown: Vec::new(),
            stated: Vec::new(),
        }
    }

    /// Adds what an object of the API shows.
    pub(super) fn add_object(&mut self, object: Value) -> Result<()> {
        let kind = text_at(&object, "/kind");
        if let Some(kind) = Kind::of_name(&kind) {
            // Others of these kinds protect nothing.
            return match kind.selection().has(&object) {
                true => self.add_protecting(object, kind),
                false => Ok(()),
            };
        }
        match kind.as_str() {
            "CertificateSigningRequest" => self.add_request(read_request(object)?),
            "Node" => {
                let name = text_at(&object, "/metadata/name");
                let node = typed::<SlimNode>(object)?.into_evidence(Timestamp::UNIX_EPOCH);
                let node = node.ok_or_else(|| anyhow!("Node `{name}`: no name of a Node"))?;
                self.nodes.push(node);
                self.given.insert(Source::Nodes);
            }
            other => self.add_machine(other, object)?,
        }
        Ok(())
    }

    /// Adds a request. The key of one that is approved is in use by its node.
    pub(super) fn add_request(&mut self, request: Taken) {
        self.requests.push(request);
    }

    /// Adds what a file of this source shows.
    pub(super) fn add_shown(&mut self, source: Source, fact: Fact) {
        self.given.insert(source);
        self.shown.push(fact);
    }

    /// Adds a fact that no object shows. A state of a source says that the source was looked at.
    pub(super) fn add_stated(&mut self, fact: Fact, at: Timestamp) {
        if let Fact::Synced(source) | Fact::Failed(source, _) | Fact::Incomplete(source, _) = &fact
        {
            self.given.insert(*source);
        }
        self.stated.push((fact, at));
    }

    /// Returns true if a fact states how this source is.
    pub(super) fn states(&self, source: Source) -> bool {
        self.stated.iter().any(|(fact, _)| {
            matches!(fact, Fact::Synced(of) | Fact::Failed(of, _) | Fact::Incomplete(of, _)
                if *of == source)
        })
    }

    fn add_protecting(&mut self, object: Value, kind: Kind) -> Result<()> {
        let object: ProtectedObject = typed(object)?;
        self.given.insert(kind.source());
        let identities = object.protected_identities(kind);
        if let Some(why) = identities.unreadable {
            bail!("{why}");
        }
        let protections = identities.protections.into_iter();
        self.shown.extend(protections.map(Fact::Protected));
        self.servers.extend(identities.servers);
        Ok(())
    }

    fn add_machine(&mut self, kind: &str, object: Value) -> Result<()> {
        let group = text_at(&object, "/apiVersion");
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let of = |known: &&MachineKind| known.group == group && known.kind == kind;
        let Some(kind) = self.machine_kinds.iter().find(of) else {
            bail!(
                "expected a CertificateSigningRequest, Node, Service, EndpointSlice, ServiceCIDR, \
                 ConfigMap, Inventory, Facts, a Machine that the policy names, or a List of these, \
                 found kind `{kind}`"
            );
        };
        let machine = machine(kind, &typed::<DynamicObject>(object)?);
        self.add_shown(Source::Machines, Fact::Machine(Box::new(machine)));
        Ok(())
    }

    /// Applies all facts: by what they are about, then by their dates, then those that are stated
    /// before those that objects show. `at` is the date of what objects show.
    pub(super) fn build(
        self,
        policy: &Spec,
        at: Timestamp,
        addresses_since: impl Fn(&Node) -> Timestamp,
    ) -> (Vec<Taken>, Evidence) {
        let nodes = self.nodes.into_iter().map(|mut node| {
            node.addresses_since = addresses_since(&node);
            Fact::Node(Box::new(node))
        });
        let shown = nodes.chain(self.shown).map(|fact| (fact, at));
        let keys = self.requests.iter().filter_map(Taken::key_in_use);
        let facts = self.stated.into_iter().chain(shown).chain(keys);
        let mut facts: Vec<Dated> = facts.collect();
        facts.sort_by_key(|(fact, at)| (turn(fact), *at));
        let mut evidence = Evidence::new(policy);
        for (fact, at) in facts {
            evidence.apply(fact, at);
        }
        (self.requests, evidence)
    }
}

/// The turn in which a fact is applied. Nodes come before the keys that are kept for each of them,
/// and the state of a source after all that it has shown.
fn turn(fact: &Fact) -> u8 {
    match fact {
        Fact::Node(_) | Fact::NodeGone(_) => 0,
        Fact::Machine(_) | Fact::MachineGone(_) => 1,
        Fact::Inventory(_) => 2,
        Fact::Protected(_) | Fact::Unprotected(_) => 3,
        Fact::Key(..) => 4,
        Fact::Answer(..) => 5,
        Fact::Synced(_) | Fact::Failed(..) | Fact::Incomplete(..) => 6,
    }
}

/// Reads a CertificateSigningRequest.
pub(super) fn read_request(object: Value) -> Result<Taken> {
    let encoded = object.pointer("/spec/request").and_then(Value::as_str);
    if encoded.is_some_and(|text| !is_base64(text)) {
        let (kind, name) = (
            text_at(&object, "/kind"),
            text_at(&object, "/metadata/name"),
        );
        bail!("{kind} `{name}`: spec.request is no base64");
    }
    let (object, encoded) = typed::<SlimRequest>(object)?.split();
    Ok(Taken { object, encoded })
}

/// The object as this type; the error names it. Through its text, since what reads the API server's
/// answers reads texts.
fn typed<T: DeserializeOwned>(object: Value) -> Result<T> {
    let (kind, name) = (
        text_at(&object, "/kind"),
        text_at(&object, "/metadata/name"),
    );
    serde_json::from_str(&object.to_string()).map_err(|error| {
        let error = error.to_string();
        // No one has seen that text.
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
