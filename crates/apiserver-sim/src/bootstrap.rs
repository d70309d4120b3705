//! Objects that exist in every new cluster.

use serde_json::{Map, Value, json};

use super::call::Shared;
use super::metadata;
use super::store::Expected;

/// The address of the Service `kubernetes`.
pub(super) const SERVICE: [u8; 4] = [10, 96, 0, 1];
const SERVICE_CIDR: &str = "10.96.0.0/16";
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates the namespaces, the Service `kubernetes` with its EndpointSlice, the ServiceCIDR, and
/// the ConfigMap `cluster-info`.
pub(super) fn fill(shared: &Shared, port: u16, authority: &str) {
    for name in NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": name});
        put(
            shared,
            "namespaces",
            "",
            name,
            json!({"metadata": {"labels": labels}, "status": {"phase": "Active"}}),
        );
    }
    let service = std::net::Ipv4Addr::from(SERVICE).to_string();
    put(
        shared,
        "services",
        "default",
        "kubernetes",
        json!({
            "metadata": {"labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "clusterIP": service,
                "clusterIPs": [service],
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
                "sessionAffinity": "None",
                "type": "ClusterIP",
            },
            "status": {"loadBalancer": {}},
        }),
    );
    put(
        shared,
        "endpointslices",
        "default",
        "kubernetes",
        json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }),
    );
    put(
        shared,
        "servicecidrs",
        "",
        "kubernetes",
        json!({"spec": {"cidrs": [SERVICE_CIDR]}}),
    );
    let cluster = json!({
        "server": format!("https://127.0.0.1:{port}"),
        "certificate-authority-data": super::authority::encode(authority),
    });
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": [],
        "users": [],
    });
    put(
        shared,
        "configmaps",
        "kube-public",
        "cluster-info",
        json!({"data": {"kubeconfig": kubeconfig.to_string()}}),
    );
}

fn put(shared: &Shared, storage: &'static str, namespace: &str, name: &str, object: Value) {
    let mut object = match object {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    metadata::of(&mut object, |metadata| {
        metadata.insert("name".into(), name.into());
        metadata.insert("uid".into(), metadata::uid(&shared.entropy).into());
        metadata.insert("creationTimestamp".into(), shared.clock.now().into());
        if !namespace.is_empty() {
            metadata.insert("namespace".into(), namespace.into());
        }
    });
    let key = if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    };
    // There is no other writer yet.
    let _ = shared.store.put(storage, &key, Expected::Absent, object);
}
