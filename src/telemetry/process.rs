//! Resource usage of a process from `/proc`, and that of this process as the usual `process_*`
//! metrics.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Duration of a clock tick. The kernel reports times in it on every architecture.
const TICK: Duration = Duration::from_millis(10);
const SELF: &str = "self";

#[derive(Debug)]
pub(super) struct ProcessCollector {
    started: Timestamp,
}

impl ProcessCollector {
    /// A collector; `started` is the start of this process.
    pub(super) fn new(started: Timestamp) -> ProcessCollector {
        ProcessCollector { started }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since 1970",
            self.started.as_duration().as_secs_f64(),
        )?;
        if let Some(kib) = memory_kib(SELF, "VmRSS:") {
            let bytes = f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) * 1024.0;
            gauge("process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            let count = u32::try_from(files.count()).unwrap_or(u32::MAX);
            gauge("process_open_fds", "Open files", f64::from(count))?;
        }
        if let Some(used) = cpu_time(SELF) {
            let counter = ConstCounter::new(used.as_secs_f64());
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                "CPU time of the process in user and system mode",
                None,
                counter.metric_type(),
            )?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// A field of `/proc/PROCESS/status`, in KiB. `process` is a process ID or `self`.
pub fn memory_kib(process: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of a process, user and system: fields 14 and 15 of its `stat`. They are counted after
/// the name, which may contain spaces.
pub fn cpu_time(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}
