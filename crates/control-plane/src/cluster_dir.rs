//! The directory of a cluster's files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

/// A directory that is removed when dropped, unless `CSR_WARDEN_TEST_KEEP` is set.
pub enum ClusterDir {
    /// Removed when dropped.
    Temporary(TempDir),
    /// Kept for inspection.
    Kept(PathBuf),
}

impl ClusterDir {
    /// Creates an empty directory.
    pub fn create() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("control-plane-")
            .tempdir()?;
        if std::env::var_os("CSR_WARDEN_TEST_KEEP").is_none() {
            return Ok(Self::Temporary(dir));
        }
        let kept = dir.keep();
        eprintln!("files of this cluster are kept in {}", kept.display());
        Ok(Self::Kept(kept))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}
