//! A file of the administrator, the policy or the inventory, which is read again only after it was
//! replaced.
//!
//! A file that is edited in place can be read while it is half written, and half a policy may be a
//! valid one. So only another file at the path counts: another inode, as `mv` makes it, or a symbolic
//! link that points elsewhere, as Kubernetes swaps a ConfigMap.
//!
//! - The last file that was read is kept open. Its inode number cannot be used again meanwhile, so
//!   device and inode number are enough to tell two files apart, on every file system.
//! - A file is used only if two reads return the same text and the same size and times.
//! - A file that was created at the path, and not moved there, may still be growing: a move sets only
//!   the change time, a write sets the modification time too. It is used once it has rested for
//!   `REST_TIME`.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::watched_file::{REREAD_INTERVAL, ReadError, SETTLE_TIME, start_watch};

/// Time between two equal reads of a file that was created at the path.
const REST_TIME: Duration = Duration::from_secs(2);

/// A file as it was read. It stays open, so that its inode number is not used again.
#[derive(Clone, Debug)]
pub struct FileVersion {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The path without symbolic links.
    target: PathBuf,
    stamp: Stamp,
    _open: Arc<File>,
}

/// A file that is not used.
#[derive(Debug, Error)]
pub enum RejectedFile {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is the same file with another text.
    #[error(
        "{path} was edited in place, so it may be half written; expected another file: write it \
         beside this one, and replace it with `mv`",
        path = .0.display()
    )]
    EditedInPlace(PathBuf),
}

/// Identity of a file, and what each write to it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl FileVersion {
    /// Reads the file as it is.
    pub fn read(path: &Path) -> Result<FileVersion, ReadError> {
        let read = || -> io::Result<FileVersion> {
            // A pipe has no other path.
            let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let mut file = File::open(path)?;
            let stamp = Stamp::of(&file.metadata()?);
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(FileVersion {
                path: path.to_owned(),
                text,
                target,
                stamp,
                _open: Arc::new(file),
            })
        };
        read().map_err(|cause| ReadError {
            path: path.to_owned(),
            cause,
        })
    }

    fn is_same_file(&self, other: &FileVersion) -> bool {
        (self.stamp.device, self.stamp.inode) == (other.stamp.device, other.stamp.inode)
    }

    fn is_unchanged(&self, other: &FileVersion) -> bool {
        (&self.target, self.stamp, &self.text) == (&other.target, other.stamp, &other.text)
    }

    /// Returns true if the file was moved to its path, or if a link to it was changed.
    fn was_moved(&self, before: Option<&FileVersion>) -> bool {
        self.stamp.changed > self.stamp.modified
            || before.is_some_and(|before| before.target != self.target)
    }
}

/// Follows a file until `send` returns false. Sends each file that replaces the last one, once it is
/// complete, and the reason for each one that is not used, once.
pub async fn follow<S: Future<Output = bool>>(
    version: FileVersion,
    mut send: impl FnMut(Result<String, RejectedFile>) -> S,
) {
    let (changed, mut changes) = mpsc::channel(1);
    let _watcher = start_watch(&version.path, changed.clone());
    let mut follower = Follower::new(version);
    loop {
        // Both a notification and the timeout lead to a read.
        let _ = timeout(REREAD_INTERVAL, changes.recv()).await;
        let found = follower.settled().await;
        if let Some(news) = follower.compare(found)
            && !send(news).await
        {
            return;
        }
    }
}

/// The last file that was used, and what was sent since.
#[derive(Debug)]
struct Follower {
    path: PathBuf,
    /// Its text.
    text: String,
    /// The file, while it is at the path. Any file that comes after it is another one.
    used: Option<FileVersion>,
    rejected: Option<Rejected>,
}

/// The last reason that was sent, unless a file was used since.
#[derive(Debug, PartialEq, Eq)]
enum Rejected {
    Unreadable(ErrorKind),
    Edited(String),
}

impl Follower {
    fn new(version: FileVersion) -> Follower {
        Follower {
            path: version.path.clone(),
            text: version.text.clone(),
            used: Some(version),
            rejected: None,
        }
    }

    /// Reads the file until it is at rest.
    async fn settled(&self) -> Result<FileVersion, ReadError> {
        let mut found = FileVersion::read(&self.path);
        loop {
            sleep(self.rest_time(&found)).await;
            let again = FileVersion::read(&self.path);
            let is_settled = match (&found, &again) {
                (Ok(found), Ok(again)) => found.is_unchanged(again),
                (Err(found), Err(again)) => found.cause.kind() == again.cause.kind(),
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if is_settled {
                return again;
            }
            found = again;
        }
    }

    fn rest_time(&self, found: &Result<FileVersion, ReadError>) -> Duration {
        let used = self.used.as_ref();
        match found {
            Ok(found)
                if !used.is_some_and(|used| used.is_same_file(found)) && !found.was_moved(used) =>
            {
                REST_TIME
            }
            Ok(_) | Err(_) => SETTLE_TIME,
        }
    }

    /// Compares the file with the one in use. Returns what to send.
    fn compare(
        &mut self,
        found: Result<FileVersion, ReadError>,
    ) -> Option<Result<String, RejectedFile>> {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let kind = error.cause.kind();
                if kind == ErrorKind::NotFound {
                    self.used = None;
                }
                return self.reject(Rejected::Unreadable(kind), error.into());
            }
        };
        let is_same = |used: &FileVersion| used.is_same_file(&found);
        if self.used.as_ref().is_some_and(is_same) && found.text != self.text {
            let error = RejectedFile::EditedInPlace(self.path.clone());
            return self.reject(Rejected::Edited(found.text), error);
        }
        let is_news = found.text != self.text || self.rejected.is_some();
        self.rejected = None;
        self.text.clone_from(&found.text);
        self.used = Some(found);
        is_news.then(|| Ok(self.text.clone()))
    }

    fn reject(
        &mut self,
        rejected: Rejected,
        error: RejectedFile,
    ) -> Option<Result<String, RejectedFile>> {
        if self.rejected.as_ref() == Some(&rejected) {
            return None;
        }
        self.rejected = Some(rejected);
        Some(Err(error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(text: &str) -> (Folder, Follower) {
            let folder = Folder(tempfile::tempdir().unwrap());
            fs::write(folder.path(), text).unwrap();
            let version = FileVersion::read(&folder.path()).unwrap();
            (folder, Follower::new(version))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("policy.yaml")
        }

        fn replace(&self, text: &str) {
            let fresh = self.0.path().join("fresh");
            fs::write(&fresh, text).unwrap();
            fs::rename(fresh, self.path()).unwrap();
        }
    }

    /// The text or error that is sent after the next read.
    fn look(follower: &mut Follower) -> Option<Result<String, String>> {
        let found = FileVersion::read(&follower.path);
        let news = follower.compare(found)?;
        Some(news.map_err(|error| error.to_string()))
    }

    fn is_edited(news: Option<Result<String, String>>) -> bool {
        news.is_some_and(|news| news.is_err_and(|why| why.contains("edited in place")))
    }

    #[test]
    fn only_another_file_is_used() {
        let (folder, mut follower) = Folder::new("one");
        assert_eq!(look(&mut follower), None);
        folder.replace("two");
        assert_eq!(look(&mut follower), Some(Ok("two".into())));
        fs::write(folder.path(), "half").unwrap();
        assert!(is_edited(look(&mut follower)));
        assert_eq!(look(&mut follower), None, "once for each edit");
        fs::write(folder.path(), "half of it").unwrap();
        assert!(is_edited(look(&mut follower)));
        folder.replace("three");
        assert_eq!(look(&mut follower), Some(Ok("three".into())));
    }

    #[test]
    fn an_edit_that_is_undone_is_forgotten() {
        let (folder, mut follower) = Folder::new("one");
        fs::write(folder.path(), "two").unwrap();
        assert!(is_edited(look(&mut follower)));
        fs::write(folder.path(), "one").unwrap();
        assert_eq!(look(&mut follower), Some(Ok("one".into())));
        fs::write(folder.path(), "one").unwrap();
        assert_eq!(look(&mut follower), None, "touched");
        folder.replace("one");
        assert_eq!(look(&mut follower), None, "the same text");
        fs::write(folder.path(), "two").unwrap();
        assert!(is_edited(look(&mut follower)));
    }

    #[test]
    fn a_replacement_is_used_whatever_its_inode_number() {
        let (folder, mut follower) = Folder::new("0");
        for number in 1..50 {
            // Two replacements between two looks: without the open file the number comes back.
            folder.replace("between");
            folder.replace(&number.to_string());
            assert_eq!(look(&mut follower), Some(Ok(number.to_string())));
        }
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("one"), "one").unwrap();
        fs::write(at("two"), "two").unwrap();
        std::os::unix::fs::symlink("one", at("policy.yaml")).unwrap();
        let version = FileVersion::read(&at("policy.yaml")).unwrap();
        let mut follower = Follower::new(version);
        std::os::unix::fs::symlink("two", at("fresh")).unwrap();
        fs::rename(at("fresh"), at("policy.yaml")).unwrap();
        let found = FileVersion::read(&at("policy.yaml"));
        assert_eq!(follower.rest_time(&found), SETTLE_TIME);
        assert_eq!(look(&mut follower), Some(Ok("two".into())));
    }

    #[test]
    fn a_file_that_was_away_is_another_one() {
        let (folder, mut follower) = Folder::new("one");
        let aside = folder.0.path().join("aside");
        fs::rename(folder.path(), &aside).unwrap();
        assert!(look(&mut follower).unwrap().is_err());
        assert_eq!(look(&mut follower), None);
        fs::write(&aside, "two").unwrap();
        fs::rename(&aside, folder.path()).unwrap();
        assert_eq!(look(&mut follower), Some(Ok("two".into())));
    }

    /// As `(head …; sleep …; tail …) >policy.yaml` after `rm policy.yaml` does it.
    #[tokio::test]
    async fn a_file_that_is_created_at_the_path_must_rest() {
        let (folder, mut follower) = Folder::new("one");
        fs::remove_file(folder.path()).unwrap();
        assert!(look(&mut follower).unwrap().is_err());
        fs::write(folder.path(), "half").unwrap();
        let half = FileVersion::read(&folder.path());
        assert_eq!(follower.rest_time(&half), REST_TIME);
        fs::write(folder.path(), "more").unwrap();
        let more = FileVersion::read(&folder.path()).unwrap();
        assert!(!half.unwrap().is_unchanged(&more));
        assert_eq!(follower.settled().await.unwrap().text, "more");
    }
}
