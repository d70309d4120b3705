//! A ConfigMap volume, as mounted into a Pod.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A directory in the layout of the kubelet: each file is a link into a directory that is swapped.
pub struct ConfigMapVolume {
    folder: PathBuf,
    swaps: u32,
}

impl ConfigMapVolume {
    /// Creates a volume with one file.
    pub fn new(folder: PathBuf, file: &str, text: &str) -> Result<Self> {
        std::fs::create_dir(&folder)?;
        std::os::unix::fs::symlink(Path::new("..data").join(file), folder.join(file))?;
        let mut volume = Self { folder, swaps: 0 };
        volume.swap(file, text)?;
        Ok(volume)
    }

    /// Replaces the text of the file as the kubelet's `AtomicWriter` does: a new directory, a new
    /// link, and a rename.
    pub fn swap(&mut self, file: &str, text: &str) -> Result<()> {
        self.swaps += 1;
        let version = format!("..version_{}", self.swaps);
        std::fs::create_dir(self.folder.join(&version))?;
        std::fs::write(self.folder.join(&version).join(file), text)?;
        let fresh = self.folder.join("..data_tmp");
        std::os::unix::fs::symlink(&version, &fresh)?;
        std::fs::rename(fresh, self.folder.join("..data"))?;
        if self.swaps > 1 {
            let old = format!("..version_{}", self.swaps - 1);
            std::fs::remove_dir_all(self.folder.join(old))?;
        }
        Ok(())
    }

    /// Returns the path of the file.
    pub fn path(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        Ok(path.to_str().context("a path that is no text")?.to_owned())
    }
}
