//! History that only a running daemon has. A command reads the cluster once, so its verdict can
//! differ from the daemon's.

use schemars::JsonSchema;
use serde::Serialize;

use judge::finding::Code;
use judge::policy::Policy;

/// One kind of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DaemonOnly {
    /// The code of the finding that the daemon can have because of it.
    pub(super) code: &'static str,
    /// The history, for a person.
    pub(super) detail: &'static str,
}

/// Kinds of history that can change a verdict under this policy.
pub(super) fn daemon_only(policy: &Policy) -> Vec<DaemonOnly> {
    let entry = |code: Code, detail| DaemonOnly {
        code: code.as_str(),
        detail,
    };
    let mut kinds = vec![
        entry(
            Code::SanRecentlyProtected,
            "identities that were protected within the last hour and no longer are",
        ),
        entry(
            Code::KeyOfAnotherNode,
            "keys of approved requests that the API server has deleted meanwhile",
        ),
        entry(
            Code::SanContested,
            "the order in which Nodes claimed a name, an address, a pod network or a provider ID",
        ),
        entry(
            Code::NodeYounger,
            "the order in which Node and request appeared, where their creationTimestamps are less \
             than a minute apart or one comes from a wrong clock",
        ),
    ];
    if !policy.spec.proof.addresses_stable_for.is_zero() {
        kinds.push(entry(
            Code::NodeAddressesUnstable,
            "the time of the last change of the Node's addresses",
        ));
    }
    kinds
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stable_addresses_are_history_only_where_the_policy_asks_for_them() {
        let codes = |name: &str| -> Vec<&str> {
            let policy = judge::policy::shipped(name).unwrap().unwrap();
            let kinds = daemon_only(&policy).into_iter();
            kinds.map(|kind| kind.code).collect()
        };
        assert!(!codes("default").contains(&"NodeAddressesUnstable"));
        assert!(codes("strict").contains(&"NodeAddressesUnstable"));
    }
}
