//! Groups that a policy may allow nodes to be in.

use crate::csr::NODES_GROUP;

/// The group of every authenticated user.
pub(crate) const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// Groups that no node is in: of anonymous users, of ServiceAccounts and of administrators.
const NEVER: [&str; 5] = [
    "system:unauthenticated",
    "system:serviceaccounts",
    "system:masters",
    "kubeadm:cluster-admins",
    "system:cluster-admins",
];
/// The group of all ServiceAccounts of a Namespace begins with this.
const SERVICE_ACCOUNTS_PREFIX: &str = "system:serviceaccounts:";

/// Returns true if a policy can allow this group. Those that every node must be in need no permission.
pub(crate) fn can_be_allowed(group: &str) -> bool {
    let is_plain = !group.is_empty() && group.trim() == group && !group.contains(char::is_control);
    let is_required = [NODES_GROUP, AUTHENTICATED_GROUP].contains(&group);
    let is_never = NEVER.contains(&group) || group.starts_with(SERVICE_ACCOUNTS_PREFIX);
    is_plain && !is_required && !is_never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_others_cannot_be_allowed() {
        for group in [
            "system:bootstrappers",
            "system:bootstrappers:kubeadm:default-node-token",
            "system:node-proxier",
            "eks:kube-proxy-windows",
        ] {
            assert!(can_be_allowed(group), "{group}");
        }
        for group in [
            "",
            " ",
            "system:masters",
            "system:masters ",
            "a\nb",
            "system:nodes",
            "system:authenticated",
            "system:unauthenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "kubeadm:cluster-admins",
            "system:cluster-admins",
        ] {
            assert!(!can_be_allowed(group), "{group}");
        }
    }
}
