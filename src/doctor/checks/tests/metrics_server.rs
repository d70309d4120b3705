//! Findings on metrics.

use super::{found, workload};
use crate::doctor::facts::Autoscaler;
use crate::doctor::finding_code::Code;

#[test]
fn insecure_metrics_servers_and_failing_autoscalers() {
    for flag in ["--kubelet-insecure-tls", "--kubelet-insecure-tls=true"] {
        let careless = workload("m", "x/metrics-server:1", &[flag]);
        assert_eq!(
            found(|facts| facts.workloads.as_mut().unwrap().push(careless)),
            [Code::MetricsServerInsecure]
        );
    }
    let blind = Autoscaler {
        name: "default/web".into(),
        message: "x".into(),
    };
    assert_eq!(
        found(|facts| facts.autoscalers = Ok(vec![blind])),
        [Code::AutoscalerWithoutMetrics]
    );
}
