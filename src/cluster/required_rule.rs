//! RBAC rules that requests to the API server need, in words for a person who has to add one.

use std::fmt;

/// A missing RBAC rule, and the Role or ClusterRole that it belongs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredRule {
    /// The namespace of the Role; `None` for a ClusterRole.
    namespace: Option<String>,
    group: String,
    resource: String,
    /// The only object, if the rule can be limited to one.
    name: Option<String>,
    verbs: &'static [&'static str],
}

impl RequiredRule {
    /// A rule of a ClusterRole.
    pub fn in_cluster_role(
        group: &str,
        resource: &str,
        name: Option<&str>,
        verbs: &'static [&'static str],
    ) -> RequiredRule {
        RequiredRule {
            namespace: None,
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.map(str::to_owned),
            verbs,
        }
    }

    /// A rule of a Role in this namespace.
    pub fn in_role(
        namespace: &str,
        group: &str,
        resource: &str,
        name: Option<&str>,
        verbs: &'static [&'static str],
    ) -> RequiredRule {
        RequiredRule {
            namespace: Some(namespace.to_owned()),
            ..RequiredRule::in_cluster_role(group, resource, name, verbs)
        }
    }

    /// The rule for a watch on the collection at this path. A field selector of `metadata.name` limits it to
    /// that object. `None` for a path that is not that of a collection.
    pub fn of_watch(path: &str, fields: Option<&str>) -> Option<RequiredRule> {
        let mut segments = path.trim_start_matches('/').split('/');
        let group = match segments.next()? {
            "api" => "",
            "apis" => segments.next()?,
            _ => return None,
        };
        let _version = segments.next()?;
        let rest: Vec<&str> = segments.collect();
        let (namespace, resource) = match rest.as_slice() {
            [resource] => (None, *resource),
            ["namespaces", namespace, resource] => (Some(*namespace), *resource),
            _ => return None,
        };
        let name = fields.and_then(|fields| fields.strip_prefix("metadata.name="));
        let rule = RequiredRule::in_cluster_role(group, resource, name, &["list", "watch"]);
        Some(RequiredRule {
            namespace: namespace.map(str::to_owned),
            ..rule
        })
    }
}

impl fmt::Display for RequiredRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "a Role in namespace {namespace}")?,
            None => write!(f, "a ClusterRole")?,
        }
        let group = match self.group.as_str() {
            "" => "\"\"",
            group => group,
        };
        write!(
            f,
            " needs the rule {{apiGroups: [{group}], resources: [{}]",
            self.resource
        )?;
        if let Some(name) = &self.name {
            write!(f, ", resourceNames: [{name}]")?;
        }
        write!(f, ", verbs: [{}]}}", self.verbs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_its_role_and_can_be_copied_into_it() {
        let text = |path, fields| RequiredRule::of_watch(path, fields).map(|rule| rule.to_string());
        let expected = "a Role in namespace default needs the rule {apiGroups: [\"\"], \
                        resources: [services], resourceNames: [kubernetes], verbs: [list, watch]}";
        assert_eq!(
            text(
                "/api/v1/namespaces/default/services",
                Some("metadata.name=kubernetes")
            ),
            Some(expected.to_owned())
        );
        let expected = "a ClusterRole needs the rule {apiGroups: [certificates.k8s.io], \
                        resources: [certificatesigningrequests], verbs: [list, watch]}";
        assert_eq!(
            text(
                "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                Some("spec.signerName=kubernetes.io/kubelet-serving")
            ),
            Some(expected.to_owned())
        );
        assert_eq!(text("/version", None), None);
    }
}
