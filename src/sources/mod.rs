//! Evidence from elsewhere than the API server's own objects.

pub mod dns;
pub mod kubelet_ca;
pub mod machine_watch;
pub mod machines;
pub mod presented_certificate;
pub mod resolve;
pub mod serving_certificate;
pub mod watched_file;
