//! Telemetry: metrics, the decision log, probes, and the HTTP server of metrics and probes.

mod connections;
pub mod decision_log;
pub mod health;
pub mod http_server;
pub mod https;
mod line_budget;
pub mod log_queue;
pub mod metrics;
pub mod metrics_auth;
pub mod printable;
pub mod process;
pub mod remedy;
