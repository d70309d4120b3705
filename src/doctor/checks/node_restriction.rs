//! Check of NodeRestriction: a kubelet cannot write other Nodes.

use crate::doctor::facts::{Facts, NodeRestriction};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

/// Part of the admission plugin's message (kubernetes `plugin/pkg/admission/noderestriction`).
const ADMISSION: &str = "is not allowed to modify node";

pub(super) fn node_restriction(facts: &Facts) -> Checked {
    let (seen, findings) = match &facts.restriction {
        NodeRestriction::Refused(why) => {
            let seen = if why.contains(ADMISSION) {
                "on: a node may not write another's Node"
            } else {
                "a node has no right to write another's Node"
            };
            (Some(seen.to_owned()), Vec::new())
        }
        NodeRestriction::Accepted(node) => {
            let what = format!("any other node may write the Node {node} and its addresses");
            let finding = Finding::new(Code::NodeRestrictionOff, what)
                .about([node.clone()])
                .fix(
                    "# on each control plane node\n\
                     sed -i 's/--enable-admission-plugins=/&NodeRestriction,/' \\\n  \
                     /etc/kubernetes/manifests/kube-apiserver.yaml",
                );
            (None, vec![finding])
        }
        NodeRestriction::NotTried(why) => {
            let what = format!("did not try whether one node may write another's Node: {why}");
            let mut finding =
                Finding::new(Code::NodeRestrictionUnknown, what).fix("# your own rights to try it");
            if facts.nodes.is_err() {
                finding = finding.fix("kubectl auth can-i list nodes");
            }
            let finding = finding
                .fix("kubectl auth can-i impersonate users")
                .fix("kubectl auth can-i impersonate groups");
            (None, vec![finding])
        }
    };
    Checked::new(Check::NodeRestriction, seen, findings)
}
