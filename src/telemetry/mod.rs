//! What is told to machines and people: metrics, the audit log, health, and the HTTP server
//! that shows them.

pub mod audit;
pub mod gate;
pub mod health;
pub mod metrics;
pub mod process;
pub mod server;
pub mod tls;
