//! Where the files of a cluster are.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

/// A directory that is removed in the end, unless `CSR_WARDEN_TEST_KEEP` is set.
pub enum ClusterDir {
    /// Removed in the end.
    Temporary(TempDir),
    /// To be looked at.
    Kept(PathBuf),
}

impl ClusterDir {
    /// A new one, empty.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}
