//! Gauges that are evaluated at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// One gauge without labels.
pub(super) struct ScrapedGauge<N> {
    /// The whole name, without the unit.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    /// The value; `None` for no series.
    pub(super) value: Box<dyn Fn() -> Option<N> + Send + Sync>,
}

impl<N> fmt::Debug for ScrapedGauge<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScrapedGauge").field(&self.name).finish()
    }
}

impl<N: EncodeGaugeValue + 'static> Collector for ScrapedGauge<N> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(value) = (self.value)() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(value);
        let kind = gauge.metric_type();
        let metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        gauge.encode(metric)
    }
}
