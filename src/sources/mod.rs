//! Sources of evidence other than Kubernetes' built-in objects: Machines, DNS, files and kubelet
//! ports.

pub mod answer_question;
pub mod certificate_probe;
pub mod dns;
pub mod kubelet_ca;
pub mod machine_watch;
pub mod machines;
pub mod replaced_file;
pub mod serving_certificate;
pub mod watched_file;
