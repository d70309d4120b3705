//! One object of each kind that is read in protobuf, with all that its type has and the original
//! lets through.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::record::{CSRS, MAPS, NODES};
use crate::harness::pki;

/// Where each is created without being kept.
pub fn all() -> Result<Vec<(String, Value)>> {
    let in_default = MAPS.trim_end_matches("/configmaps");
    let group = |group: &str| format!("/apis/{group}/v1");
    let namespaced = |group: &str| format!("/apis/{group}/v1/namespaces/default");
    let rbac = group("rbac.authorization.k8s.io");
    let rights = group("authorization.k8s.io");
    let mut samples = vec![
        (NODES.to_owned(), node()),
        (CSRS.to_owned(), request()?),
        (MAPS.to_owned(), config_map()),
        (format!("{in_default}/secrets"), secret()),
        (format!("{in_default}/serviceaccounts"), service_account()),
        (format!("{in_default}/services"), service()),
        (format!("{in_default}/events"), event()),
        ("/api/v1/namespaces".to_owned(), namespace()),
        (namespaced("coordination.k8s.io") + "/leases", lease()),
        (namespaced("events.k8s.io") + "/events", new_event()),
        (
            namespaced("discovery.k8s.io") + "/endpointslices",
            endpoint_slice(),
        ),
        (
            namespaced("networking.k8s.io") + "/networkpolicies",
            network_policy(),
        ),
        (
            namespaced("policy") + "/poddisruptionbudgets",
            disruption_budget(),
        ),
        (group("networking.k8s.io") + "/servicecidrs", service_cidr()),
        (format!("{rbac}/clusterroles"), cluster_role()),
        (
            format!("{rbac}/clusterrolebindings"),
            binding("ClusterRoleBinding"),
        ),
        (namespaced("rbac.authorization.k8s.io") + "/roles", role()),
        (
            namespaced("rbac.authorization.k8s.io") + "/rolebindings",
            binding("RoleBinding"),
        ),
    ];
    for (_, sample) in &mut samples {
        sample["metadata"] = metadata();
    }
    samples.extend([
        (
            format!("{rights}/selfsubjectaccessreviews"),
            self_access_review(),
        ),
        (
            format!("{rights}/subjectaccessreviews"),
            access_review("SubjectAccessReview"),
        ),
        (
            namespaced("authorization.k8s.io") + "/localsubjectaccessreviews",
            access_review("LocalSubjectAccessReview"),
        ),
    ]);
    samples.push((format!("{rights}/selfsubjectrulesreviews"), rules_review()));
    samples.push((
        group("authentication.k8s.io") + "/tokenreviews",
        token_review(),
    ));
    let dry = |(path, sample)| (format!("{path}?dryRun=All"), sample);
    Ok(samples.into_iter().map(dry).collect())
}

fn metadata() -> Value {
    json!({
        "name": "conf-pb-sample",
        "labels": {"a": "1", "empty": ""},
        "annotations": {"example.com/a": "ä\n\u{1F600}"},
        "finalizers": ["example.com/held"],
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y",
            "controller": false, "blockOwnerDeletion": true,
        }],
    })
}

fn node() -> Value {
    let time = "2026-01-02T03:04:05Z";
    json!({
        "apiVersion": "v1", "kind": "Node",
        "spec": {
            "podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00::/64"],
            "providerID": "example://1", "unschedulable": true,
            "taints": [{"key": "a", "value": "b", "effect": "NoExecute", "timeAdded": time}],
        },
        "status": {
            "capacity": {"cpu": "1500m", "memory": "1Gi"}, "allocatable": {"pods": "110"},
            "phase": "Running",
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "R", "message": "m",
                "lastHeartbeatTime": time, "lastTransitionTime": time,
            }],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": "a", "systemUUID": "b", "bootID": "c", "kernelVersion": "d",
                "osImage": "e", "containerRuntimeVersion": "f", "kubeletVersion": "g",
                "kubeProxyVersion": "h", "operatingSystem": "i", "architecture": "j",
            },
            "images": [{"names": ["n"], "sizeBytes": 5_000_000_000_i64}],
            "volumesInUse": ["v"], "volumesAttached": [{"name": "n", "devicePath": "p"}],
            "runtimeHandlers": [{"name": "", "features": {
                "recursiveReadOnlyMounts": true, "userNamespaces": false,
            }}],
            "features": {"supplementalGroupsPolicy": true},
        },
    })
}

fn request() -> Result<Value> {
    let pem = pki::request("system:node:conf-1", &["system:nodes"])?;
    Ok(json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kubelet-serving",
            "expirationSeconds": 86_400,
            "usages": ["digital signature", "server auth"],
        },
    }))
}

fn config_map() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": false,
        "data": {"a": "", "b": "text"}, "binaryData": {"c": "AP8=", "d": ""},
    })
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "immutable": true, "type": "example.com/t",
        "data": {"a": "AP8="},
    })
}

fn service_account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
        "secrets": [{"name": "s"}], "imagePullSecrets": [{"name": "p"}],
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "spec": {
            "type": "ExternalName", "externalName": "example.com", "selector": {"a": "b"},
            "externalIPs": ["192.0.2.1"], "publishNotReadyAddresses": true,
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "ports": [
                {"name": "a", "port": 80, "protocol": "TCP", "targetPort": "http",
                    "appProtocol": "http"},
                {"name": "b", "port": 81, "protocol": "UDP", "targetPort": 8081},
            ],
        },
    })
}

fn event() -> Value {
    let time = "2026-01-02T03:04:05Z";
    json!({
        "apiVersion": "v1", "kind": "Event",
        "involvedObject": {
            "kind": "Pod", "namespace": "default", "name": "n", "uid": "u", "apiVersion": "v1",
            "resourceVersion": "5", "fieldPath": "spec",
        },
        "reason": "R", "message": "m", "source": {"component": "c", "host": "h"},
        "firstTimestamp": time, "lastTimestamp": time, "count": 3, "type": "Normal",
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:05.123456Z"},
        "action": "A", "related": {"kind": "Node", "name": "x"},
        "reportingComponent": "example.com/c", "reportingInstance": "i",
    })
}

fn new_event() -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "n"},
        "related": {"kind": "Node", "name": "x"},
        "reason": "R", "note": "n", "type": "Warning", "action": "A",
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:05.123456Z"},
        "reportingController": "example.com/c", "reportingInstance": "i",
    })
}

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "spec": {"finalizers": ["example.com/f"]}})
}

fn lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {
            "holderIdentity": "h", "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "2026-01-02T03:04:05.000000Z",
            "renewTime": "2026-01-02T03:04:05.123456Z",
        },
    })
}

fn endpoint_slice() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.0.0.1"], "hostname": "h", "nodeName": "n", "zone": "z",
            "conditions": {"ready": false, "serving": true, "terminating": true},
            "targetRef": {"kind": "Pod", "name": "p"}, "deprecatedTopology": {"a": "b"},
            "hints": {"forZones": [{"name": "z"}]},
        }],
        "ports": [{"name": "", "port": 80, "protocol": "TCP", "appProtocol": "http"}],
    })
}

fn network_policy() -> Value {
    let selector = json!({
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
    });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "spec": {
            "podSelector": selector, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [{"podSelector": {}, "namespaceSelector": selector}],
                "ports": [{"protocol": "TCP", "port": "http"}],
            }],
            "egress": [{
                "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                "ports": [{"protocol": "UDP", "port": 100, "endPort": 200}],
            }],
        },
    })
}

fn service_cidr() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "spec": {"cidrs": ["10.200.0.0/24", "fd00:200::/64"]},
    })
}

fn disruption_budget() -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "spec": {
            "maxUnavailable": "30%", "selector": {"matchLabels": {"a": "b"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    })
}

fn rules() -> Value {
    json!([{
        "apiGroups": [""], "resources": ["nodes"], "resourceNames": ["n"], "verbs": ["get"],
    }])
}

fn cluster_role() -> Value {
    let mut rules = rules();
    if let Value::Array(rules) = &mut rules {
        rules.push(json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}));
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules,
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    })
}

fn role() -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules()})
}

fn binding(kind: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view",
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
            {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
        ],
    })
}

fn self_access_review() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}},
    })
}

fn access_review(kind: &str) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": kind,
        "spec": {
            "user": "system:node:conf-1", "groups": ["system:nodes"], "uid": "u",
            "extra": {"example.com/a": ["b", "c"]},
            "resourceAttributes": {
                "namespace": "default", "verb": "get", "group": "", "version": "v1",
                "resource": "nodes", "subresource": "status", "name": "conf-1",
            },
        },
    })
}

fn rules_review() -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "default"},
    })
}

fn token_review() -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": "words", "audiences": ["a", "b"]},
    })
}
