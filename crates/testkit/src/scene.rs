//! A scene: a request, a policy and what is known of the cluster, as JSON that a judge in another
//! language reads. `tests/reference/SCENES.md` describes the fields.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cluster::{
    AnswerSpec, CertificateSpec, FirstSeenSpec, MachineSpec, NodeSpec, ProtectedKind,
    ProtectedSpec, QuestionSpec, SourceSpec, before_now,
};
use crate::now;
use crate::policies::{BasePolicy, machine_kinds, merge};
use crate::vector::{SettledSpec, Vector};
use judge::evidence::Source;

/// The scene of a vector that is judged by this policy, with this PEM text as its request.
pub fn scene(vector: &Vector, base: BasePolicy, text: &[u8]) -> Value {
    json!({
        "now": time(now() + vector.clock_skew),
        "monotonicNow": time(now()),
        "policy": policy(vector, base),
        "request": request(vector, text),
        "events": events(vector),
    })
}

/// The policy as a file. Its kinds of Machines are those of the vector, if it has Machines.
fn policy(vector: &Vector, base: BasePolicy) -> Value {
    let mut written = base.written(vector.policy.as_ref());
    if vector.machines.is_some() {
        let kinds = json!({"spec": {"sources": {"machines": machine_kinds()}}});
        merge(&mut written, &kinds);
    }
    written
}

fn time(at: Timestamp) -> String {
    at.to_string()
}

fn ago(age: SignedDuration) -> String {
    time(before_now(age))
}

fn request(vector: &Vector, text: &[u8]) -> Value {
    let (object, requestor) = (&vector.object, &vector.requestor);
    json!({
        "name": object.name,
        "signerName": object.signer,
        "username": requestor.username,
        "uid": requestor.uid,
        "groups": requestor.groups,
        "credentialIDs": requestor.credential_ids,
        "usages": object.usages,
        "expirationSeconds": object.expiration_seconds,
        "created": ago(object.age),
        "firstSeen": object.first_seen.map(first_seen),
        "terminating": object.terminating,
        "settled": object.settled.map(|settled| match settled {
            SettledSpec::Approved => "Approved",
            SettledSpec::Denied => "Denied",
            SettledSpec::Failed => "Failed",
            SettledSpec::Issued => "Issued",
        }),
        "request": BASE64_STANDARD.encode(text),
    })
}

fn first_seen(spec: FirstSeenSpec) -> Value {
    json!({"at": ago(spec.ago), "resourceVersion": spec.version, "listed": spec.listed})
}

/// The events, in the order in which they happened as far as it matters.
fn events(vector: &Vector) -> Vec<Value> {
    let nodes: Vec<&NodeSpec> = vector.nodes.iter().chain(&vector.others).collect();
    let (mut watched, listed): (Vec<&NodeSpec>, Vec<&NodeSpec>) =
        nodes.into_iter().partition(|node| node.watched.is_some());
    watched.sort_by_key(|node| std::cmp::Reverse(node.watched));

    let mut events: Vec<Value> = listed
        .into_iter()
        .map(|spec| json!({"listedNode": node(spec)}))
        .collect();
    for source in Source::ALL {
        let spec = vector.sources.get(source.as_str());
        let spec = spec.cloned().unwrap_or_default();
        events.push(json!({"source": self::source(source.as_str(), &spec)}));
    }
    events.extend(watched.into_iter().map(|spec| {
        let at = ago(spec.watched.unwrap_or_default());
        json!({"watchedNode": node(spec), "at": at})
    }));
    let protected = vector.protected.iter().chain(&vector.also_protected);
    events.extend(protected.map(|spec| json!({"protected": protection(spec)})));
    events.extend(vector.keys.iter().map(|spec| {
        let sha256 = spec.fingerprint().to_string();
        json!({"approvedKey": {"node": spec.node, "spkiSHA256": sha256}})
    }));
    events.extend(
        vector
            .inventory_file()
            .map(|file| json!({"inventory": file})),
    );
    let machines = vector.machines.iter().flatten();
    events.extend(machines.map(|spec| json!({"machine": machine(spec)})));
    events.extend(vector.namespaces().map(|name| json!({"namespace": name})));
    let issued = vector.issued.iter();
    events.extend(issued.map(|spec| json!({"issued": certificate(spec)})));
    events.extend(
        vector
            .answers
            .iter()
            .map(|spec| json!({"answer": answer(spec)})),
    );
    events
}

fn node(spec: &NodeSpec) -> Value {
    let addresses: Vec<Value> = spec
        .addresses
        .iter()
        .flatten()
        .map(|(kind, address)| json!({"type": kind, "address": address}))
        .collect();
    json!({
        "name": spec.name,
        "uid": spec.uid.clone().unwrap_or_else(|| format!("uid-of-{}", spec.name)),
        "created": ago(spec.age),
        "firstSeen": spec.first_seen.map(first_seen),
        "addressesSince": ago(spec.stable.unwrap_or(spec.age)),
        "addresses": addresses,
        "podCIDRs": spec.pod_cidrs,
        "providerID": spec.provider_id,
        "terminating": spec.terminating,
        "lost": spec.lost,
        "controlPlane": spec.control_plane,
        "uninitialized": spec.uninitialized,
    })
}

fn source(name: &str, spec: &SourceSpec) -> Value {
    json!({"name": name, "synced": spec.synced, "failingSince": spec.failing.map(ago)})
}

fn protection(spec: &ProtectedSpec) -> Value {
    let kind = match spec.kind {
        ProtectedKind::Service => "Service",
        ProtectedKind::ApiServerEndpoint => "ApiServerEndpoint",
        ProtectedKind::ApiServerIdentity => "ApiServerIdentity",
    };
    let certificate = spec
        .certificate
        .as_ref()
        .map(|certificate| json!({"host": certificate.host, "same": certificate.der}));
    json!({
        "origin": spec.origin,
        "kind": kind,
        "sans": spec.sans,
        "networks": spec.networks,
        "removedAt": spec.until.map(ago),
        "certificate": certificate,
    })
}

fn machine(spec: &MachineSpec) -> Value {
    json!({
        "kind": spec.kind,
        "name": spec.name,
        "refersByProviderID": spec.by_provider_id,
        "node": spec.node,
        "providerID": spec.provider_id,
        "policyHasProviderIDPath": spec.checks_provider_id,
        "addresses": spec.addresses,
        "created": ago(spec.age),
        "terminating": spec.terminating,
    })
}

fn certificate(spec: &CertificateSpec) -> Value {
    json!({"node": spec.node, "issued": ago(spec.age), "sans": spec.sans})
}

fn answer(spec: &AnswerSpec) -> Value {
    let question = match &spec.to {
        QuestionSpec::Addresses(name) => json!({"addressesOf": name}),
        QuestionSpec::Names(ip) => json!({"namesOf": ip}),
        QuestionSpec::Certificate(ip) => json!({"certificateAt": ip}),
    };
    json!({
        "question": question,
        "sans": spec.sans,
        "empty": spec.empty,
        "certificate": spec.certificate.as_ref().map(certificate),
        "failed": spec.failed,
        "expires": time(now() + spec.holds),
    })
}
