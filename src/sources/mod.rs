//! Evidence from elsewhere than the API server's own objects.

pub mod authorities;
pub mod dns;
pub mod file;
pub mod kubelet_port;
pub mod machine_watch;
pub mod machines;
pub mod resolve;
pub mod serving_certificate;
