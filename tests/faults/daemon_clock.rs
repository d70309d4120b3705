//! The clock of a daemon, moved while it runs: libfaketime answers for the kernel. Time that has passed
//! stays right, as when somebody sets a machine's clock.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::SignedDuration;

/// Below the directory of the system's libraries, with or without one for the architecture.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock that is told by a file.
pub struct DaemonClock {
    library: PathBuf,
    told: PathBuf,
}

impl DaemonClock {
    /// One that is right, with a file in this directory.
    pub fn right(dir: &Path) -> Result<Self> {
        let clock = Self {
            library: library().context("no libfaketime")?,
            told: dir.join("clock"),
        };
        clock.set(SignedDuration::ZERO)?;
        Ok(clock)
    }

    /// Sets it ahead, or behind.
    pub fn set(&self, ahead: SignedDuration) -> Result<()> {
        // Whole, or not at all: it is read at every look at the clock.
        let fresh = self.told.with_extension("new");
        std::fs::write(&fresh, format!("{:+}", ahead.as_secs()))?;
        std::fs::rename(fresh, &self.told)?;
        Ok(())
    }

    /// The shell script that starts `"$0" "$@"` with it.
    pub fn script(&self) -> String {
        format!(
            "LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 exec \"$0\" \"$@\"",
            self.library.display(),
            self.told.display()
        )
    }
}

/// Why no clock can be moved here.
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
