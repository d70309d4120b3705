//! Check of the API server: it verifies kubelets, by its flags if they are visible, otherwise by
//! its behavior towards control-plane nodes. Any other node can forge both.

use super::not_known;
use crate::doctor::facts::{ApiServer, DialResult, Facts, Proxied, SignedBy};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

const FLAG: &str = "--kubelet-certificate-authority";

pub(super) fn api_server(facts: &Facts) -> Checked {
    let pods = facts.api_servers.iter().flatten();
    let pods: Vec<&ApiServer> = pods
        .filter(|pod| facts.is_control_plane(&pod.node))
        .collect();
    let without: Vec<String> = pods
        .iter()
        .filter(|pod| !pod.args.iter().any(|arg| arg.starts_with(FLAG)))
        .map(|pod| pod.pod.clone())
        .collect();
    if !without.is_empty() {
        let what = format!("API servers run without {FLAG}");
        let finding = does_not_verify(what).about(without);
        return Checked::new(Check::ApiServer, None, vec![finding]);
    }
    if !pods.is_empty() {
        let seen = "verifies kubelets, by its flags".to_owned();
        return Checked::new(Check::ApiServer, Some(seen), Vec::new());
    }
    // The API server either proxies to a kubelet that cannot be verified, or rejects it.
    let (mut refuses, mut is_said_to) = (false, None);
    for kubelet in &facts.kubelets {
        let unverifiable = matches!(
            &kubelet.dialed,
            DialResult::Certificate(shown) if shown.signed_by == SignedBy::Itself
        );
        match &kubelet.proxied {
            Proxied::NotTrusted(_) if facts.is_control_plane(&kubelet.node) => refuses = true,
            Proxied::NotTrusted(_) => is_said_to = Some(kubelet.node.as_str()),
            Proxied::Bootstrap(_) if unverifiable => {
                let what = format!(
                    "the API server connects to {} although its certificate cannot be verified",
                    kubelet.node
                );
                let finding = does_not_verify(what).about([kubelet.node.clone()]);
                return Checked::new(Check::ApiServer, None, vec![finding]);
            }
            Proxied::Bootstrap(_)
            | Proxied::NoCertificate
            | Proxied::Forbidden(_)
            | Proxied::Failed(_) => {}
        }
    }
    if refuses {
        let seen = "verifies kubelets: it refuses one".to_owned();
        return Checked::new(Check::ApiServer, Some(seen), Vec::new());
    }
    let finding = match &facts.api_servers {
        Err(why) => not_known(why, "whether the API server verifies kubelets"),
        Ok(_) => Finding::new(
            Code::ApiServerUnseen,
            match is_said_to {
                Some(node) => format!(
                    "the API server seems to reject {node}, but that kubelet can have written the \
                     error, and no Pod of a control-plane node shows whether the API server has \
                     {FLAG}"
                ),
                None => format!(
                    "no Pod of a control-plane node shows whether the API server has {FLAG}"
                ),
            },
        )
        .fix("# where it runs\nps -o args= -C kube-apiserver | tr ' ' '\\n' | grep kubelet"),
    };
    Checked::new(Check::ApiServer, None, vec![finding])
}

fn does_not_verify(what: String) -> Finding {
    Finding::new(Code::ApiServerDoesNotVerify, what).fix(
        "# once every kubelet can be verified, on each control plane node\n\
         flag=--kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt\n\
         sed -i \"s|^    - kube-apiserver$|&\\n    - $flag|\" \\\n  \
         /etc/kubernetes/manifests/kube-apiserver.yaml",
    )
}
