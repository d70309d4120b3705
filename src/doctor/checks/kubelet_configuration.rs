//! Check of `serverTLSBootstrap`: in kubeadm's ConfigMap for nodes that join, and in the
//! configuration of each running kubelet.

use serde_json::Value;

use super::{count, not_known};
use crate::doctor::facts::{Facts, Proxied};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};
use judge::yaml;

const KEY: &str = "serverTLSBootstrap";
/// Maximum edit distance of a key that counts as a misspelling.
const NEAR: usize = 3;

pub(super) fn kubelet_configuration(facts: &Facts) -> Checked {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    let has_map = match &facts.kubelet_config {
        Ok(Some(text)) => {
            match check_config_map(text) {
                Ok(()) => seen.push("on for joining nodes".to_owned()),
                Err(finding) => findings.push(finding),
            }
            true
        }
        Ok(None) => {
            findings.push(
                Finding::new(
                    Code::KubeletConfigAbsent,
                    "there is no ConfigMap kube-system/kubelet-config",
                )
                .fix("# on a node, for its kubelet's configuration")
                .fix("grep serverTLSBootstrap /var/lib/kubelet/config.yaml"),
            );
            false
        }
        Err(why) => {
            findings.push(not_known(why, "which configuration joining nodes get"));
            false
        }
    };
    let (finding, on) = check_kubelets(facts, has_map);
    findings.extend(finding);
    if on > 0 {
        seen.push(format!("on in {}", count(on, "kubelet", "kubelets")));
    }
    let seen = (!seen.is_empty()).then(|| seen.join(", "));
    Checked::new(Check::Configuration, seen, findings)
}

/// Checks the text in the ConfigMap.
fn check_config_map(text: &str) -> Result<(), Finding> {
    let unreadable = |why: String| {
        let what = format!("the configuration in kube-system/kubelet-config {why}");
        Finding::new(Code::KubeletConfigUnreadable, what).fix(EDIT)
    };
    let parsed = yaml::document(text).map_err(|_| unreadable("is not YAML".to_owned()))?;
    let fields = parsed
        .as_object()
        .ok_or_else(|| unreadable("has no fields".to_owned()))?;
    match fields.get(KEY) {
        Some(Value::Bool(true)) => return Ok(()),
        Some(Value::Bool(false)) => {
            let what = format!("kube-system/kubelet-config says {KEY}: false");
            return Err(Finding::new(Code::BootstrapOff, what)
                .fix(replace(&format!("s/^    {KEY}: .*/    {KEY}: true/")))
                .fix(AFTERWARDS));
        }
        Some(other) => {
            return Err(unreadable(format!(
                "says {KEY}: {other}, expected true or false"
            )));
        }
        None => {}
    }
    if let Some(key) = fields.keys().find(|key| is_near(key)) {
        let what =
            format!("kube-system/kubelet-config has {key:?}, which is a misspelling of {KEY}");
        let finding = Finding::new(Code::BootstrapMisspelled, what);
        // The key becomes part of a command that people paste into a shell.
        let is_word = key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return Err(if is_word && has_line(text, &format!("{key}:")) {
            finding
                .fix(replace(&format!("s/^    {key}:.*/    {KEY}: true/")))
                .fix(AFTERWARDS)
        } else {
            finding.fix(EDIT).fix(AFTERWARDS)
        });
    }
    let what = format!("kube-system/kubelet-config has no {KEY}");
    let finding = Finding::new(Code::BootstrapOff, what);
    Err(if text.lines().any(|line| line == KIND) {
        finding
            .fix(replace(&format!(
                "s/^    kind: Kubelet.*/&\\n    {KEY}: true/"
            )))
            .fix(AFTERWARDS)
    } else {
        finding.fix(EDIT).fix(AFTERWARDS)
    })
}

const KIND: &str = "kind: KubeletConfiguration";
const EDIT: &str = "kubectl edit configmap kubelet-config -n kube-system";
const AFTERWARDS: &str = "# then on each node\nkubeadm upgrade node phase kubelet-config\n\
                          systemctl restart kubelet";

fn has_line(text: &str, start: &str) -> bool {
    text.lines().any(|line| line.starts_with(start))
}

fn replace(expression: &str) -> String {
    format!(
        "kubectl get configmap kubelet-config -n kube-system -o yaml |\n  sed '{expression}' |\n  \
         kubectl replace -f -"
    )
}

fn is_near(key: &str) -> bool {
    // A misspelled key is hardly longer than the right one, and the distance of long words is slow
    // to compute.
    key.len() <= KEY.len() + NEAR
        && strsim::damerau_levenshtein(&key.to_lowercase(), &KEY.to_lowercase()) <= NEAR
}

/// Checks the configuration of running kubelets. Also returns how many have it enabled.
fn check_kubelets(facts: &Facts, has_map: bool) -> (Vec<Finding>, usize) {
    let mut off = Vec::new();
    let mut unseen: Vec<(&str, &str)> = Vec::new();
    let mut on = 0;
    for kubelet in &facts.kubelets {
        match &kubelet.proxied {
            Proxied::Bootstrap(true) => on += 1,
            Proxied::Bootstrap(false) => off.push(kubelet.node.clone()),
            Proxied::Forbidden(why) | Proxied::Failed(why) => unseen.push((&kubelet.node, why)),
            // Reported as findings on their certificates.
            Proxied::NoCertificate | Proxied::NotTrusted(_) => {}
        }
    }
    let mut findings = Vec::new();
    if !off.is_empty() {
        let what = format!(
            "{} without {KEY}",
            count(off.len(), "kubelet runs", "kubelets run")
        );
        let finding = Finding::new(Code::KubeletBootstrapOff, what).about(off);
        findings.push(finding.fix(enable_bootstrap(has_map)));
    }
    if let Some((_, why)) = unseen.first() {
        let run = count(unseen.len(), "kubelet runs", "kubelets run");
        let what = format!("cannot determine what {run} with: {why}");
        let nodes = unseen.iter().map(|(node, _)| (*node).to_owned());
        let finding = Finding::new(Code::KubeletConfigUnseen, what).about(nodes);
        findings.push(finding.fix("# your own rights to it\nkubectl auth can-i get nodes/proxy"));
    }
    (findings, on)
}

/// Commands that enable serverTLSBootstrap on a node.
pub(super) fn enable_bootstrap(has_map: bool) -> String {
    if has_map {
        "# on each of these nodes, once kubelet-config is right\n\
         kubeadm upgrade node phase kubelet-config\n\
         systemctl restart kubelet"
            .to_owned()
    } else {
        "# on each of these nodes\n\
         sed -i '/^serverTLSBootstrap:/d' /var/lib/kubelet/config.yaml\n\
         echo 'serverTLSBootstrap: true' >>/var/lib/kubelet/config.yaml\n\
         systemctl restart kubelet"
            .to_owned()
    }
}
