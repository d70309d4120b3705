//! What is told to machines and people: metrics, the audit log, health, and the HTTP server
//! that shows them.

pub mod decision_log;
pub mod health;
pub mod http_server;
pub mod https;
pub mod metrics;
pub mod metrics_auth;
pub mod process;
