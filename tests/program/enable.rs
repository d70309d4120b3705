//! `deploy/enable` agrees with its pages. `tests/control_plane/cases/enabling` runs it on a
//! cluster.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

const PAGE: &str = include_str!("../../docs/enable.md");
const ROLE: &str = "deploy/enable/ansible/roles/kubelet_serving_certificates";
const CA: &str =
    "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn kubeadm_gets_both_halves() {
    let file = read("deploy/enable/kubeadm/cluster.yaml");
    let (cluster, kubelet) = file.split_once("\n---\n").expect("two documents");
    let (cluster, kubelet) = (yaml(cluster), yaml(kubelet));
    assert_eq!(cluster["apiVersion"], "kubeadm.k8s.io/v1beta4");
    let args = cluster["apiServer"]["extraArgs"].as_array().expect("args");
    assert!(
        args.iter()
            .any(|arg| arg["name"] == "kubelet-certificate-authority"
                && arg["value"] == "/etc/kubernetes/pki/ca.crt")
    );
    assert_eq!(kubelet["kind"], "KubeletConfiguration");
    assert_eq!(kubelet["serverTLSBootstrap"], true);
}

#[test]
fn clients_of_kubelets_verify_their_certificates() {
    let metrics_server = yaml(&read("deploy/enable/metrics-server/values.yaml"));
    assert_eq!(metrics_server["args"], serde_json::json!([CA]));
    let prometheus = yaml(&read("deploy/enable/prometheus/kube-prometheus-stack.yaml"));
    let monitor = &prometheus["kubelet"]["serviceMonitor"];
    assert_eq!(monitor["https"], true);
    assert_eq!(monitor["insecureSkipVerify"], false);
}

/// Every variable has a default and a description. Those on the page are among them.
#[test]
fn the_variables_of_the_role_are_known() {
    let defaults = yaml(&read(&format!("{ROLE}/defaults/main.yml")));
    let specs = yaml(&read(&format!("{ROLE}/meta/argument_specs.yml")));
    let names = |value: &Value| -> BTreeSet<String> {
        value
            .as_object()
            .expect("a mapping")
            .keys()
            .cloned()
            .collect()
    };
    let defaults = names(&defaults);
    assert_eq!(defaults, names(&specs["argument_specs"]["main"]["options"]));
    let named = PAGE
        .split(['`', ' ', '='])
        .filter(|word| word.starts_with("kubelet_serving_certificates_"));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert!(named.len() > 3, "{named:?}");
    assert!(named.is_subset(&defaults), "{named:?}");
}

/// The table on the page has the default values.
#[test]
fn the_page_has_the_default_values() {
    let defaults = yaml(&read(&format!("{ROLE}/defaults/main.yml")));
    for (name, shown) in [
        ("state", "`present`"),
        ("timeout", "`300`"),
        (
            "approver",
            "`[deployment/csr-warden, --namespace, kube-system]`",
        ),
    ] {
        let name = format!("kubelet_serving_certificates_{name}");
        let row = format!("| `{name}` | {shown} |");
        assert!(PAGE.contains(&row), "no `{row}`");
        assert_eq!(defaults[&name], yaml(shown.trim_matches('`')));
    }
}
