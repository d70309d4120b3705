//! The attributes of an action that is to be authorized.

use serde_json::Value;

use super::authn::User;

/// An action: a verb on a resource or on a non-resource path.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Set for a non-resource path. Then all fields above except the verb are empty.
    pub(super) path: String,
}

impl Attributes {
    /// Returns the resource with its subresource: `nodes`, `nodes/status`.
    pub(super) fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Renders `User "U" cannot VERB resource "R" in API group "G" at the cluster scope`.
    pub(super) fn refusal(&self, user: &User, reason: &str) -> String {
        let colon = if reason.is_empty() { "" } else { ": " };
        if !self.path.is_empty() {
            return format!(
                "User {:?} cannot {} path {:?}{colon}{reason}",
                user.name, self.verb, self.path
            );
        }
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        format!(
            "User {:?} cannot {} resource {:?} in API group {:?} {place}{colon}{reason}",
            user.name,
            self.verb,
            self.combined(),
            self.group
        )
    }
}

/// Returns the action that an access review asks about.
pub(super) fn of_review(spec: &Value) -> Attributes {
    let text = |path: &str| {
        let value = spec.pointer(path).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    if spec
        .get("nonResourceAttributes")
        .is_some_and(Value::is_object)
    {
        return Attributes {
            verb: text("/nonResourceAttributes/verb"),
            path: text("/nonResourceAttributes/path"),
            ..Attributes::default()
        };
    }
    Attributes {
        verb: text("/resourceAttributes/verb"),
        group: text("/resourceAttributes/group"),
        resource: text("/resourceAttributes/resource"),
        subresource: text("/resourceAttributes/subresource"),
        name: text("/resourceAttributes/name"),
        namespace: text("/resourceAttributes/namespace"),
        path: String::new(),
    }
}
