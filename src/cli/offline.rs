//! A cluster in files: requests, and the objects that are evidence.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::certificates::sans_of_pem;
use crate::cluster::objects::{SlimNode, SlimRequest};
use crate::cluster::protected::{CLUSTER_INFO, KUBERNETES_SERVICE, ProtectingObject};
use crate::csr::{KUBELET_SERVING_SIGNER, Kept, Object, Request, Requestor, Settled};
use crate::evidence::{Evidence, IdentityKind, Inventory, Machines, Source, Sources};
use crate::policy::{IndependentSource, MachineKind, Spec};
use crate::sources::machines::machine;

/// What the files held.
pub(super) struct Offline {
    /// The requests, in the order of the files.
    pub(super) requests: Vec<Request>,
    /// All else.
    pub(super) evidence: Evidence,
    /// The sources of which something was in the files.
    given: BTreeSet<Source>,
    /// The sources beside those that every judgement needs, as far as the policy names them.
    named: Vec<Source>,
    /// The kinds of Machines that the policy names.
    machines: Vec<MachineKind>,
    /// If set, every request was made at this time, and nobody has decided on it.
    as_new: Option<Timestamp>,
}

/// What the command line says of the requests.
pub(super) struct Terms {
    /// Who asks, where a file is nothing but PEM.
    pub(super) requestor: Option<Requestor>,
    /// And what for.
    pub(super) usages: Vec<String>,
    pub(super) now: Timestamp,
    /// Whether requests are taken as made now and decided by nobody.
    pub(super) as_new: bool,
}

/// Reads all files. What is not there is taken as not there in the cluster either, and
/// [`Offline::not_given`] names it.
pub(super) fn read(files: &[impl AsRef<Path>], terms: &Terms, policy: &Spec) -> Result<Offline> {
    let machines = policy.sources.machines.clone();
    let mut offline = Offline {
        requests: Vec::new(),
        evidence: Evidence {
            sources: Sources::all_synced(terms.now),
            machines: (!machines.is_empty()).then(Machines::default),
            ..Evidence::default()
        },
        given: BTreeSet::new(),
        named: named(policy),
        machines,
        as_new: terms.as_new.then_some(terms.now),
    };
    for file in files {
        let file = file.as_ref();
        offline
            .read_file(file, terms)
            .with_context(|| format!("{}", file.display()))?;
    }
    Ok(offline)
}

impl Offline {
    /// The sources that the daemon looks at and of which no file holds anything.
    pub(super) fn not_given(&self) -> Vec<Source> {
        Source::NEEDED
            .into_iter()
            .chain(self.named.iter().copied())
            .filter(|source| !self.given.contains(source))
            // The request itself says nothing of the keys that others have.
            .filter(|source| *source != Source::Requests || self.requests.len() < 2)
            .collect()
    }

    fn read_file(&mut self, file: &Path, terms: &Terms) -> Result<()> {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
        } else {
            std::fs::read_to_string(file).context("cannot be read")?
        };
        if text.trim_start().starts_with("-----BEGIN ") {
            return self.read_pem(file, &text, terms);
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| anyhow!("expected YAML, JSON or PEM: {}", error.without_snippet()))?;
        for document in documents {
            self.read_object(document)?;
        }
        Ok(())
    }

    fn read_pem(&mut self, file: &Path, text: &str, terms: &Terms) -> Result<()> {
        match pem_label(text) {
            "CERTIFICATE" => return self.read_certificates(file, text),
            label if label.ends_with("PRIVATE KEY") => bail!(
                "expected a certification request or an API server's certificate, found a private \
                 key (`{label}`), which nobody should be given"
            ),
            _ => {}
        }
        let Some(requestor) = terms.requestor.clone() else {
            bail!("a bare certification request says nothing of who asks: give --requestor");
        };
        let name = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let object = Object {
            name: name.unwrap_or_default(),
            uid: String::new(),
            resource_version: String::new(),
            created: terms.now,
            terminating: false,
            signer: KUBELET_SERVING_SIGNER.to_owned(),
            requestor,
            usages: terms.usages.clone(),
            expiration_seconds: None,
            settled: None,
            kept: Kept::default(),
        };
        self.requests.push(Request::read(object, text.as_bytes()));
        Ok(())
    }

    /// Serving certificates of API servers: what they name is the API server's. Nobody verifies
    /// here that they are; the daemon does.
    fn read_certificates(&mut self, file: &Path, text: &str) -> Result<()> {
        let sans = sans_of_pem(text).map_err(|error| anyhow!(error))?;
        if sans.is_empty() {
            bail!("expected an API server's certificate, found one without names and addresses");
        }
        let origin = format!("certificate in {}", file.display());
        let protected = &mut self.evidence.protected;
        protected.set_sans(&origin, IdentityKind::ApiServerIdentity, sans);
        self.given.insert(Source::ApiServerCertificates);
        Ok(())
    }

    fn read_request(&mut self, request: SlimRequest) {
        let (mut object, encoded) = request.split();
        let approved = matches!(object.settled, Some(Settled::Approved | Settled::Issued));
        if approved
            && let Some(node) = object.requestor.node()
            && let Some(key) = Request::key_of(&encoded)
        {
            let nodes = self.evidence.nodes.len();
            self.evidence.keys.remember(key, node, nodes);
        }
        if let Some(now) = self.as_new {
            object.created = now;
            object.settled = None;
            object.terminating = false;
        }
        self.requests.push(Request::read(object, &encoded));
    }

    fn read_object(&mut self, object: Value) -> Result<()> {
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
                items
                    .into_iter()
                    .try_for_each(|item| self.read_object(item))
            }
            "CertificateSigningRequest" => {
                self.read_request(typed::<SlimRequest>(object)?);
                Ok(())
            }
            "Node" => {
                let node = typed::<SlimNode>(object)?.into_evidence(Timestamp::UNIX_EPOCH);
                let node = node.ok_or_else(|| anyhow!("Node `{}`: no name of a Node", place.1))?;
                self.evidence.nodes.apply(node);
                self.given.insert(Source::Nodes);
                Ok(())
            }
            "Service" if is(KUBERNETES_SERVICE) => {
                self.protect::<Service>(object, Source::KubernetesService)
            }
            "EndpointSlice" if place.0 == KUBERNETES_SERVICE.0 => {
                let of = text_at(&object, "/metadata/labels/kubernetes.io~1service-name");
                if of == KUBERNETES_SERVICE.1 {
                    return self.protect::<EndpointSlice>(object, Source::ApiServerEndpoints);
                }
                Ok(())
            }
            "ServiceCIDR" => self.protect::<ServiceCIDR>(object, Source::ServiceCidrs),
            "ConfigMap" if is(CLUSTER_INFO) => {
                self.protect::<ConfigMap>(object, Source::ClusterInfo)
            }
            "Service" | "EndpointSlice" | "ConfigMap" => Ok(()),
            "Inventory" => {
                // JSON is YAML.
                self.evidence.inventory = Some(Inventory::parse(&object.to_string())?);
                self.given.insert(Source::Inventory);
                Ok(())
            }
            other => {
                let group = text_at(&object, "/apiVersion");
                let group = group.split_once('/').map_or("", |(group, _)| group);
                let of = |kind: &&MachineKind| kind.group == group && kind.kind == other;
                let Some(kind) = self.machines.iter().find(of) else {
                    bail!(
                        "expected a CertificateSigningRequest, Node, Service, EndpointSlice, \
                         ServiceCIDR, ConfigMap, Inventory, a Machine that the policy names, or a \
                         List of these, found kind `{other}`"
                    );
                };
                let machine = machine(kind, &typed::<DynamicObject>(object)?);
                self.evidence
                    .machines
                    .get_or_insert_default()
                    .apply(machine);
                self.given.insert(Source::Machines);
                Ok(())
            }
        }
    }

    fn protect<K: ProtectingObject + DeserializeOwned>(
        &mut self,
        object: Value,
        source: Source,
    ) -> Result<()> {
        let object: K = typed(object)?;
        self.given.insert(source);
        let protects = object.protects();
        if let Some(why) = protects.unread {
            bail!("{why}");
        }
        let protected = &mut self.evidence.protected;
        for part in protects.parts {
            protected.set_sans(&part.origin, part.kind, part.sans);
            protected.set_networks(&part.origin, part.kind, part.networks);
        }
        Ok(())
    }
}

/// The sources that a policy names beside those that every judgement needs.
fn named(policy: &Spec) -> Vec<Source> {
    let proof = &policy.proof;
    let asked = [&proof.ip_addresses, &proof.node_name, &proof.dns_names];
    let asks = |source| {
        asked
            .iter()
            .any(|asked| asked.all_of.contains(&source) || asked.any_of.contains(&source))
    };
    let each = [
        (Source::Inventory, asks(IndependentSource::Inventory)),
        (Source::Machines, !policy.sources.machines.is_empty()),
        (Source::Dns, asks(IndependentSource::Dns)),
        (
            Source::ServingCertificates,
            asks(IndependentSource::ServingCertificate),
        ),
    ];
    let named = each.into_iter().filter(|(_, named)| *named);
    named.map(|(source, _)| source).collect()
}

/// What stands between `-----BEGIN ` and `-----` in the first line.
fn pem_label(text: &str) -> &str {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let label = line.trim_end().strip_prefix("-----BEGIN ");
    label
        .and_then(|label| label.strip_suffix("-----"))
        .unwrap_or_default()
}

fn typed<T: DeserializeOwned>(object: Value) -> Result<T> {
    let (kind, name) = (
        text_at(&object, "/kind"),
        text_at(&object, "/metadata/name"),
    );
    serde_json::from_value(object).map_err(|error| anyhow!("{kind} `{name}`: {error}"))
}

fn text_at(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
