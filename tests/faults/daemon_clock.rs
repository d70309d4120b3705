//! A wall clock for the daemon that tests can set while it runs, by libfaketime. The monotonic
//! clock stays right, as when an administrator sets a machine's clock.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::SignedDuration;

/// The path below the directory of system libraries, with or without that of the architecture.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock whose offset is in a file.
pub struct DaemonClock {
    library: PathBuf,
    told: PathBuf,
}

impl DaemonClock {
    /// Creates a clock without offset, with its file in this directory.
    pub fn right(dir: &Path) -> Result<Self> {
        let clock = Self {
            library: library().context("no libfaketime")?,
            told: dir.join("clock"),
        };
        clock.set(SignedDuration::ZERO)?;
        Ok(clock)
    }

    /// Sets the offset. Negative for a clock that is behind.
    pub fn set(&self, ahead: SignedDuration) -> Result<()> {
        // Renamed into place, because the file is read at every access to the clock.
        let fresh = self.told.with_extension("new");
        std::fs::write(&fresh, format!("{:+}", ahead.as_secs()))?;
        std::fs::rename(fresh, &self.told)?;
        Ok(())
    }

    /// Returns the shell script that starts `"$0" "$@"` with this clock.
    pub fn script(&self) -> String {
        format!(
            "LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 exec \"$0\" \"$@\"",
            self.library.display(),
            self.told.display()
        )
    }
}

/// Returns the reason why the clock cannot be set on this machine, if there is one.
pub fn missing() -> Option<String> {
    let missing = "no libfaketime to load: Debian's package faketime has it";
    library().is_none().then(|| missing.to_owned())
}

fn library() -> Option<PathBuf> {
    let root = Path::new("/usr/lib");
    let folders = std::fs::read_dir(root).ok()?.flatten();
    let folders = folders.map(|folder| folder.path());
    let mut places = folders.chain([root.to_owned()]);
    places.find_map(|place| Some(place.join(LIBRARY)).filter(|file| file.is_file()))
}
