//! Evidence of a command: API objects, converted to facts as in the daemon, and applied once. The
//! order of application does not depend on the order of the files, except among equal dates of one kind.

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
use crate::sources::machines::{is_selected, machine};
use judge::csr::{CsrObject, Request};
use judge::evidence::{Evidence, Fact, Node, Source, TimedFact};
use judge::policy::{MachineKind, Spec};

/// Request decoded from an API object.
pub(super) struct Taken {
    pub(super) object: CsrObject,
    /// `spec.request`.
    pub(super) encoded: Vec<u8>,
}

impl Taken {
    /// Parses the request.
    pub(super) fn read(&self) -> Request {
        Request::read(self.object.clone(), &self.encoded)
    }

    /// Parses the request as if it were created at `now` and undecided.
    pub(super) fn read_as_new(&self, now: Timestamp) -> Request {
        let object = CsrObject {
            created: now,
            settled: None,
            terminating: false,
            ..self.object.clone()
        };
        Request::read(object, &self.encoded)
    }

    /// Fact that the request's key is in use, if the request is approved. It is dated to the
    /// request's creation: of two nodes with one key, the first requestor owns it.
    pub(super) fn key_in_use(&self) -> Option<TimedFact> {
        let fact = key_in_use(&self.object, &self.encoded)?;
        Some((fact, self.object.created))
    }
}

/// Builder of evidence from API objects and files.
pub(super) struct EvidenceBuilder {
    /// Requests, in the order of addition.
    pub(super) requests: Vec<Taken>,
    /// Sources with an object, a file or a stated state.
    pub(super) given: BTreeSet<Source>,
    /// API servers whose certificates name further protected identities.
    pub(super) servers: BTreeSet<ApiServer>,
    machine_kinds: Vec<MachineKind>,
    /// Nodes. [`EvidenceBuilder::build`] sets the age of their addresses.
    nodes: Vec<Node>,
    /// Facts from all other objects and files.
    shown: Vec<Fact>,
    /// Dated facts that no object contains.
    stated: Vec<TimedFact>,
}

impl EvidenceBuilder {
    /// Empty builder. The policy names the accepted Machine kinds.
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

    /// Adds an API object. Returns an error for an unknown kind, or if decoding fails.
    pub(super) fn add_object(&mut self, object: Value) -> Result<()> {
        let kind = text_at(&object, "/kind");
        if let Some(kind) = Kind::of_name(&kind) {
            // Other objects of these kinds do not protect anything.
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
                let node = node.ok_or_else(|| anyhow!("Node `{name}`: not a Node's name"))?;
                self.nodes.push(node);
                self.given.insert(Source::Nodes);
            }
            other => self.add_machine(other, object)?,
        }
        Ok(())
    }

    /// Adds a request. The key of an approved request is in use by its node.
    pub(super) fn add_request(&mut self, request: Taken) {
        self.requests.push(request);
    }

    /// Adds a fact from a file of this source.
    pub(super) fn add_shown(&mut self, source: Source, fact: Fact) {
        self.given.insert(source);
        self.shown.push(fact);
    }

    /// Adds a dated fact that no object contains. The state of a source marks it as given.
    pub(super) fn add_stated(&mut self, fact: Fact, at: Timestamp) {
        self.given.extend(source_of_state(&fact));
        self.stated.push((fact, at));
    }

    /// Returns true if a fact states the state of this source.
    pub(super) fn states(&self, source: Source) -> bool {
        let mut states = self.stated.iter().map(|(fact, _)| source_of_state(fact));
        states.any(|of| of == Some(source))
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
        self.shown.extend(identities.namespace.map(Fact::Namespace));
        self.servers.extend(identities.servers);
        Ok(())
    }

    fn add_machine(&mut self, kind: &str, object: Value) -> Result<()> {
        let group = text_at(&object, "/apiVersion");
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let is_of = |known: &&MachineKind| known.group == group && known.kind == kind;
        let mut kinds = self.machine_kinds.iter().filter(is_of).peekable();
        if kinds.peek().is_none() {
            bail!(
                "expected a CertificateSigningRequest, Node, Namespace, Service, EndpointSlice, \
                 ServiceCIDR, ConfigMap, Inventory, Facts, a Machine that the policy names, or a List of these, \
                 found kind `{kind}`"
            );
        }
        let object = typed::<DynamicObject>(object)?;
        // The daemon does not see what the policy does not select.
        self.given.insert(Source::Machines);
        for kind in kinds {
            if is_selected(kind, &object) {
                let machine = machine(kind, &object);
                self.shown.push(Fact::Machine(Box::new(machine)));
                break;
            }
        }
        Ok(())
    }

    /// Applies all facts, sorted by [`turn`] and then by date. At the same date, stated facts come
    /// before those from objects. `at` is the date of facts from objects.
    pub(super) fn build(
        self,
        policy: &Spec,
        at: Timestamp,
        addresses_since: impl Fn(&Node) -> Timestamp,
    ) -> (Vec<Taken>, Evidence) {
        let nodes = self.nodes.into_iter().map(|mut node| {
            node.addresses_since = addresses_since(&node);
            // A list has no order.
            Fact::ListedNode(Box::new(node))
        });
        let shown = nodes.chain(self.shown).map(|fact| (fact, at));
        let keys = self.requests.iter().filter_map(Taken::key_in_use);
        let facts = self.stated.into_iter().chain(shown).chain(keys);
        let mut facts: Vec<TimedFact> = facts.collect();
        facts.sort_by_key(|(fact, at)| (turn(fact), *at, severity(fact)));
        let mut evidence = Evidence::new(policy);
        for (fact, at) in facts {
            evidence.apply(fact, at);
        }
        (self.requests, evidence)
    }
}

/// The source whose state a fact states.
fn source_of_state(fact: &Fact) -> Option<Source> {
    // Other facts state none.
    #[allow(clippy::wildcard_enum_match_arm)]
    match fact {
        Fact::Synced(source)
        | Fact::Failed(source, _)
        | Fact::Incomplete(source, _)
        | Fact::NotServed(source, _) => Some(*source),
        _ => None,
    }
}

/// Position of a fact in the order of application. Nodes come before their keys, and the state of
/// a source after its facts.
fn turn(fact: &Fact) -> u8 {
    match fact {
        Fact::Node(_) | Fact::ListedNode(_) | Fact::NodeGone(_) => 0,
        Fact::Machine(_) | Fact::MachineGone(_) => 1,
        Fact::Inventory(_) => 2,
        Fact::Protected(_) | Fact::Unprotected(_) => 3,
        Fact::Namespace(_) | Fact::NamespaceGone(_) => 3,
        Fact::Key(..) | Fact::Issued(_) => 4,
        Fact::Answer(..) => 5,
        Fact::Synced(_) | Fact::Failed(..) | Fact::Incomplete(..) | Fact::NotServed(..) => 6,
    }
}

/// Position among the facts of one date: a failure of a source outweighs its success.
fn severity(fact: &Fact) -> u8 {
    match fact {
        Fact::Failed(..) | Fact::NotServed(..) => 1,
        Fact::Incomplete(..) => 2,
        Fact::Node(_)
        | Fact::ListedNode(_)
        | Fact::NodeGone(_)
        | Fact::Namespace(_)
        | Fact::NamespaceGone(_)
        | Fact::Issued(_)
        | Fact::Machine(_)
        | Fact::MachineGone(_)
        | Fact::Inventory(_)
        | Fact::Protected(_)
        | Fact::Unprotected(_)
        | Fact::Key(..)
        | Fact::Answer(..)
        | Fact::Synced(_) => 0,
    }
}

/// Decodes a CertificateSigningRequest. Returns an error if `spec.request` is not base64.
pub(super) fn read_request(object: Value) -> Result<Taken> {
    let encoded = object.pointer("/spec/request").and_then(Value::as_str);
    if encoded.is_some_and(|text| !is_base64(text)) {
        let (kind, name) = (
            text_at(&object, "/kind"),
            text_at(&object, "/metadata/name"),
        );
        bail!("{kind} `{name}`: spec.request is not base64");
    }
    let (object, encoded) = typed::<SlimRequest>(object)?.split();
    Ok(Taken { object, encoded })
}

/// Decodes an object as this type; the error names the object. It goes through JSON text, which
/// the decoders of API responses expect.
fn typed<T: DeserializeOwned>(object: Value) -> Result<T> {
    let (kind, name) = (
        text_at(&object, "/kind"),
        text_at(&object, "/metadata/name"),
    );
    serde_json::from_str(&object.to_string()).map_err(|error| {
        // Users did not write this text, so the position in it does not help.
        let position = format!(" at line {} column {}", error.line(), error.column());
        let error = error.to_string();
        let why = error.strip_suffix(&position).unwrap_or(&error);
        anyhow!("{kind} `{name}`: {why}")
    })
}

/// Returns true for valid base64. The decoder's own error does not name the expected format.
fn is_base64(text: &str) -> bool {
    ByteString::deserialize(StrDeserializer::<ValueError>::new(text)).is_ok()
}

/// String at this JSON pointer; empty if it is missing or not a string.
pub(super) fn text_at(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
