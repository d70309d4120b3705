//! Warnings about policies that are well-formed, and allow more than they seem to.

use super::{AllowOrDeny, IndependentSource, Policy, Requirement};

impl Policy {
    /// Fields that allow more, or less, than they seem to, each with the reason.
    pub fn warnings(&self) -> Vec<String> {
        let spec = &self.spec;
        let mut warnings = Vec::new();
        let shared = spec.names.shared.iter().enumerate();
        for (index, shared) in shared.filter(|(_, shared)| shared.is_wide()) {
            warnings.push(format!(
                "spec.names.shared[{index}]: {shared} is wider than one site's network (/24, or /120 for IPv6); \
                 every address in it goes to each Node that claims it"
            ));
        }
        if !spec.requestor.groups.is_empty()
            && (spec.requestor.credential_id == Requirement::Required
                || spec.requestor.uid == AllowOrDeny::Deny)
        {
            warnings.push(
                "spec.requestor.groups: authenticators that add a group set a UID and no client certificate, \
                 so credentialId must be Optional and uid must be Allow"
                    .to_owned(),
            );
        }
        let proof = [
            &spec.proof.ip_addresses,
            &spec.proof.node_name,
            &spec.proof.dns_names,
        ];
        let mut asked = proof
            .iter()
            .flat_map(|asked| asked.all_of.iter().chain(&asked.any_of));
        let is_exists = asked.any(|source| *source == IndependentSource::MachineExists);
        let mut kinds = spec.sources.machines.iter().enumerate();
        if is_exists && let Some((index, kind)) = kinds.find(|(_, kind)| kind.node_name.is_none()) {
            warnings.push(format!(
                "spec.sources.machines[{index}]: {} is found by the Node's provider ID, which a kubelet can write while \
                 it is empty, so MachineExists proves nothing with it; add nodeName",
                kind.kind
            ));
        }
        for (index, entry) in spec.protected.allowed.iter().enumerate() {
            let sans = entry.sans.join(", ");
            if entry.node.as_deref() == Some("*") {
                warnings.push(format!(
                    "spec.protected.allowed[{index}]: node `*` matches control-plane Nodes whose names have no dot; \
                     `nodes: ControlPlane` allows {sans} to all of them"
                ));
            }
            if entry.sans.is_empty() {
                warnings.push(format!(
                    "spec.protected.allowed[{index}]: an entry without sans has no effect"
                ));
            }
        }
        warnings
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::policy::parse;

    #[test]
    fn wide_networks_and_entries_without_effect_are_named() {
        let of = |spec: &str| {
            let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: a}\n";
            parse(&format!("{head}spec: {spec}"))
                .unwrap()
                .warnings()
                .len()
        };
        assert_eq!(of("{}"), 0);
        assert_eq!(
            of("{names: {shared: [10.0.0.0/24, 'fd00::/120', 10.0.0.1, a.example]}}"),
            0
        );
        assert_eq!(of("{names: {shared: [10.0.0.0/23, 'fd00::/119']}}"), 2);
        let allowed = |entry: &str| of(&format!("{{protected: {{allowed: [{entry}]}}}}"));
        assert_eq!(allowed("{nodes: ControlPlane, sans: [10.0.0.1]}"), 0);
        assert_eq!(allowed("{node: 'cp-*', sans: [10.0.0.1]}"), 0);
        assert_eq!(allowed("{node: '*', sans: []}"), 2);
        assert_eq!(of("{requestor: {groups: [system:bootstrappers]}}"), 0);
        assert_eq!(
            of("{requestor: {groups: [system:bootstrappers], uid: Deny}}"),
            1
        );
    }

    #[test]
    fn an_exception_names_its_nodes_in_exactly_one_way() {
        let of = |entry: &str| {
            let head = "apiVersion: csr-warden.dev/v1beta1\nkind: Policy\nmetadata: {name: a}\n";
            let text = format!("{head}spec: {{protected: {{allowed: [{entry}]}}}}");
            parse(&text).map(|_| ()).map_err(|error| error.to_string())
        };
        for (entry, expected) in [
            ("{node: 'a-*', sans: []}", None),
            ("{nodes: ControlPlane, sans: []}", None),
            (
                "{sans: []}",
                Some("expected either `node` or `nodes`, found neither at line 4, column 30"),
            ),
            (
                "{node: a, nodes: ControlPlane, sans: []}",
                Some("expected either `node` or `nodes`, found both at line 4, column 30"),
            ),
            (
                "{node: 'a?', sans: []}",
                Some(
                    "expected a Node's name, with `*` for any characters but a dot, found `a?` at line 4, \
                     column 37",
                ),
            ),
        ] {
            let found = of(entry);
            match expected {
                None => assert_eq!(found, Ok(()), "{entry}"),
                Some(why) => assert!(found.unwrap_err().ends_with(why), "{entry}"),
            }
        }
    }
}
