//! The policies that a vector is judged by: two shipped ones, with the changes of the vector.

use std::sync::LazyLock;

use judge::policy::{self, Policy};
use serde_json::{Value, json};

const DEFAULT: &str = include_str!("../../../policies/default.yaml");
const STRICT: &str = include_str!("../../../policies/strict.yaml");

/// A shipped policy that vectors are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasePolicy {
    Default,
    Strict,
}

impl BasePolicy {
    pub const ALL: [BasePolicy; 2] = [BasePolicy::Default, BasePolicy::Strict];

    pub fn as_str(self) -> &'static str {
        match self {
            BasePolicy::Default => "default",
            BasePolicy::Strict => "strict",
        }
    }

    /// The policy with a vector's changes to its `spec`. A change with an `apiVersion` replaces the
    /// whole policy.
    pub fn with(self, change: Option<&Value>) -> Policy {
        static AS_SHIPPED: [LazyLock<Policy>; 2] = [
            LazyLock::new(|| policy::parse(DEFAULT).unwrap()),
            LazyLock::new(|| policy::parse(STRICT).unwrap()),
        ];
        let shipped = match self {
            BasePolicy::Default => &AS_SHIPPED[0],
            BasePolicy::Strict => &AS_SHIPPED[1],
        };
        let Some(change) = change else {
            return LazyLock::force(shipped).clone();
        };
        let whole = self.written(Some(change));
        // JSON is YAML, so a misspelled field is an error here as it is in a file.
        policy::parse(&whole.to_string()).unwrap_or_else(|e| panic!("{change}: {e}"))
    }

    /// The same policy as the content of a file.
    pub fn written(self, change: Option<&Value>) -> Value {
        static AS_SHIPPED: [LazyLock<Value>; 2] = [
            LazyLock::new(|| serde_saphyr::from_str(DEFAULT).unwrap()),
            LazyLock::new(|| serde_saphyr::from_str(STRICT).unwrap()),
        ];
        let mut whole = match self {
            BasePolicy::Default => AS_SHIPPED[0].clone(),
            BasePolicy::Strict => AS_SHIPPED[1].clone(),
        };
        match change {
            None => {}
            Some(change) if change.get("apiVersion").is_some() => whole = change.clone(),
            Some(change) => merge(&mut whole["spec"], change),
        }
        whole
    }
}

/// The API group of the Machines of vectors.
pub const MACHINE_GROUP: &str = "machines.example.com";

/// The kinds of these Machines, as a policy names them.
pub fn machine_kinds() -> Value {
    json!([
        {
            "group": MACHINE_GROUP, "kind": "Machine", "nodeName": ".status.nodeRef.name",
            "providerID": ".spec.providerID", "addresses": [".status.addresses[*]"],
        },
        {
            "group": MACHINE_GROUP, "kind": "Instance",
            "providerID": ".spec.providerID", "addresses": [".status.addresses[*]"],
        },
        {
            "group": MACHINE_GROUP, "kind": "Server",
            "nodeName": ".status.nodeRef.name", "addresses": [".status.addresses[*]"],
        },
    ])
}

/// Merges a change into a value, field by field.
pub fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}
