//! A memory limit as set by the kubelet: a control group, if this machine permits one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A control group with one process. It is removed when dropped, after the process has exited.
pub struct MemoryLimit {
    group: PathBuf,
    names: Names,
}

/// File names in a version of control groups.
struct Names {
    limit: &'static str,
    peak: &'static str,
}

const FIRST: Names = Names {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
};
const SECOND: Names = Names {
    limit: "memory.max",
    peak: "memory.peak",
};

impl MemoryLimit {
    /// Creates a group with this limit below that of this process. Returns `None` without
    /// permission or support.
    pub fn new(name: &str, kib: u64) -> Option<Self> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let of = |controller: &str| {
            let mut lines = groups.lines().map(|line| line.splitn(3, ':').skip(1));
            lines.find_map(|mut line| (line.next()? == controller).then(|| line.next())?)
        };
        let (root, own, names) = match of("memory") {
            Some(own) => ("/sys/fs/cgroup/memory", own, FIRST),
            None => ("/sys/fs/cgroup", of("")?, SECOND),
        };
        let own = Path::new(root).join(own.trim_start_matches('/'));
        let group = own.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        let made = Self { group, names };
        let bytes = (kib * 1024).to_string();
        std::fs::write(made.group.join(made.names.limit), bytes).ok()?;
        made.peak_kib().ok()?;
        Some(made)
    }

    /// Returns the file to which a process writes its ID to join the group.
    pub fn members(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// Returns the peak memory of the group in KiB, including kernel memory.
    pub fn peak_kib(&self) -> Result<u64> {
        let bytes = std::fs::read_to_string(self.group.join(self.names.peak))?;
        let bytes: u64 = bytes.trim().parse().context("a number of bytes")?;
        Ok(bytes / 1024)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.group);
    }
}
