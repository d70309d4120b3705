//! Gauge of leadership.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// The gauge `csr_warden_leader`, evaluated at each scrape.
pub(super) struct LeaderCollector(Box<dyn Fn() -> bool + Send + Sync>);

impl LeaderCollector {
    pub(super) fn new(leads: impl Fn() -> bool + Send + Sync + 'static) -> LeaderCollector {
        LeaderCollector(Box::new(leads))
    }
}

impl fmt::Debug for LeaderCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaderCollector").finish_non_exhaustive()
    }
}

impl Collector for LeaderCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(i64::from((self.0)()));
        let name = "csr_warden_leader";
        let help = "Whether this replica is the one that writes";
        let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(metric)
    }
}
