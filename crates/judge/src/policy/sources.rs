//! Policy for the sources of evidence that no kubelet can write.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::SignedDuration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{LabelSelector, Requirement};

/// Sources of evidence besides the API server's own objects.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourcesPolicy {
    /// Kinds of objects from which nodes are created, such as the Machines of Cluster API.
    pub machines: Vec<MachineKind>,
    /// DNS; not used if missing.
    pub dns: Option<DnsPolicy>,
    /// The serving certificates that kubelets present now; not used if missing.
    pub serving_certificate: Option<ServingCertificatePolicy>,
}

/// DNS lookups. Only names that follow from a Node's own name are queried: the name itself if it is
/// under a suffix, and the name under each suffix.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DnsPolicy {
    /// The DNS servers; by default those of the system.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<DnsServer>,
    /// Domains in which each node has its Node's name.
    pub suffixes: Vec<String>,
    /// Timeout of one query.
    #[serde(deserialize_with = "super::fields::duration")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// Reverse lookup: the address must resolve back to the name.
    pub reverse: Requirement,
}

/// The address of a DNS server, with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl DnsServer {
    const PORT: u16 = 53;
}

impl Serialize for DnsServer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DnsServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let with_port = text.parse::<SocketAddr>();
        let without = text
            .parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, DnsServer::PORT));
        with_port.or(without).map(DnsServer).map_err(|_| {
            let expected = "an address such as `10.0.0.53` or `[fd00::53]:5353`";
            de::Error::custom(format!("expected {expected}, found `{text}`"))
        })
    }
}

impl Default for DnsPolicy {
    fn default() -> Self {
        DnsPolicy {
            servers: Vec::new(),
            suffixes: Vec::new(),
            timeout: SignedDuration::from_secs(2),
            reverse: Requirement::Optional,
        }
    }
}

/// Connections to kubelets to read their serving certificates. No other source must vouch for the
/// addresses.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServingCertificatePolicy {
    /// The kubelet's port.
    pub port: u16,
    /// Timeout of one handshake.
    #[serde(deserialize_with = "super::fields::duration")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
}

impl Default for ServingCertificatePolicy {
    fn default() -> Self {
        ServingCertificatePolicy {
            port: 10250,
            timeout: SignedDuration::from_secs(3),
        }
    }
}

/// One kind of object from which nodes are created, with the paths of its fields.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineKind {
    /// The API group. The server's preferred version is used.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace to watch; by default all namespaces.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The label selector, in the syntax of kubectl.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub label_selector: Option<LabelSelector>,
    /// The path of its Node's name. Without a path its Node is the one with its provider ID.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub node_name: Option<FieldPath>,
    /// The path of the provider ID, which must be the Node's. Without a path provider IDs are not
    /// compared: only for kinds whose reference to the Node no kubelet can influence.
    #[serde(rename = "providerID", default)]
    #[schemars(with = "Option<String>")]
    pub provider_id: Option<FieldPath>,
    /// The paths of its addresses and names.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<FieldPath>,
}

impl fmt::Display for MachineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.group)
    }
}

/// A JSONPath in the syntax of kubectl and CustomResourceDefinitions: `.status.nodeRef.name`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPath {
    text: String,
    path: JsonPath,
}

impl FieldPath {
    /// The non-empty strings at this path.
    pub fn strings<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a str> {
        self.path
            .query(object)
            .all()
            .into_iter()
            .filter_map(Value::as_str)
            .filter(|text| !text.is_empty())
    }
}

impl Serialize for FieldPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = text
            .starts_with('.')
            .then(|| JsonPath::parse(&format!("${text}")).ok())
            .flatten();
        match path {
            Some(path) => Ok(FieldPath { text, path }),
            None => {
                let example = "`.status.nodeRef.name` or `.metadata.labels['node']`";
                let sentence = format!("expected a path such as {example}, found `{text}`");
                Err(de::Error::custom(sentence))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_kubectl_reads_it() {
        let object = serde_json::json!({
            "metadata": {"labels": {"node": "a", "example.com/node": "b"}},
            "status": {"addresses": [{"address": "10.0.0.1"}, {"address": ""}, {"address": 7}]},
        });
        for (path, expected) in [
            (".metadata.labels.node", vec!["a"]),
            (".metadata.labels['example.com/node']", vec!["b"]),
            (".status.addresses[*].address", vec!["10.0.0.1"]),
            (".status.nodeRef.name", vec![]),
        ] {
            let read: FieldPath = serde_json::from_value(path.into()).unwrap();
            assert_eq!(
                read.strings(&object).collect::<Vec<_>>(),
                expected,
                "{path}"
            );
        }
        for path in ["status", "", ".", "$.status", ".status[", ".a b"] {
            let read: Result<FieldPath, _> = serde_json::from_value(path.into());
            assert!(read.is_err(), "{path}");
        }
    }
}
