//! A memory limit as the kubelet sets one: a control group, where this machine lets us make one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A group of one process. Dropping it removes it, once the process has ended.
pub struct MemoryLimit {
    group: PathBuf,
    names: Names,
}

/// What the two versions of control groups call it.
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
    /// A group below that of this process, with this limit; none without the right or the means.
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

    /// The file that a process writes its number into to belong to it.
    pub fn members(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// The most that it ever had, with what the kernel keeps for it.
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
