//! Check of metrics-server and of autoscalers: metrics come from verified kubelets, and arrive.

use super::{count, not_known};
use crate::doctor::facts::{Facts, Workload};
use crate::doctor::finding_code::Code;
use crate::doctor::report::{Check, Checked, Finding};

const INSECURE: &str = "--kubelet-insecure-tls";

pub(super) fn metrics_server(facts: &Facts) -> Checked {
    let mut findings = Vec::new();
    let mut seen = None;
    match &facts.workloads {
        Err(why) => findings.push(not_known(why, "whether metrics-server verifies kubelets")),
        Ok(workloads) => {
            let servers: Vec<&Workload> = workloads
                .iter()
                .filter(|one| is_metrics_server(one))
                .collect();
            let insecure_servers: Vec<&&Workload> =
                servers.iter().filter(|one| is_insecure(one)).collect();
            seen = match (servers.is_empty(), insecure_servers.is_empty()) {
                (true, _) => Some("there is no metrics-server".to_owned()),
                (false, true) => Some("metrics-server verifies kubelets".to_owned()),
                (false, false) => None,
            };
            findings.extend(
                insecure_servers
                    .into_iter()
                    .map(|server| insecure_tls(server)),
            );
        }
    }
    match &facts.autoscalers {
        Err(why) => findings.push(not_known(why, "whether autoscalers can read metrics")),
        Ok(blind) => {
            if let Some(first) = blind.first() {
                let (namespace, name) = first.name.split_once('/').unwrap_or_default();
                let what = format!(
                    "{} read metrics ({}: {})",
                    count(blind.len(), "autoscaler cannot", "autoscalers cannot"),
                    first.name,
                    first.message
                );
                findings.push(
                    Finding::new(Code::AutoscalerWithoutMetrics, what)
                        .about(blind.iter().map(|one| one.name.clone()))
                        .fix("# what metrics-server logs about kubelets")
                        .fix("kubectl logs -n kube-system deployment/metrics-server")
                        .fix(format!("kubectl describe hpa -n {namespace} {name}")),
                );
            }
        }
    }
    Checked::new(Check::Metrics, seen, findings)
}

fn is_metrics_server(workload: &Workload) -> bool {
    let image = |image: &str| {
        let last = image.rsplit('/').next().unwrap_or(image);
        last.split(['@', ':']).next() == Some("metrics-server")
    };
    workload.name == "metrics-server" || workload.containers.iter().any(|one| image(&one.image))
}

fn is_insecure(workload: &Workload) -> bool {
    let mut args = workload.containers.iter().flat_map(|one| &one.args);
    args.any(|arg| arg == INSECURE || arg == "--kubelet-insecure-tls=true")
}

fn insecure_tls(server: &Workload) -> Finding {
    let Workload {
        kind,
        namespace,
        name,
        ..
    } = server;
    let what = format!("{} runs with {INSECURE}", server.display_name());
    Finding::new(Code::MetricsServerInsecure, what)
        .about([server.display_name()])
        .fix(format!(
            "# once every kubelet can be verified\n\
             ca=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n\
             new=\"--kubelet-certificate-authority=$ca\"\n\
             kubectl get -n {namespace} {kind}/{name} -o yaml |\n  \
             sed \"s|--kubelet-insecure-tls\\(=true\\)*$|$new|\" |\n  \
             kubectl replace -f -"
        ))
}
