//! Kubeconfig files, read by kube, with errors of one line.
//!
//! Several YAML documents are merged; the first that sets a field, cluster, user or context wins.
//! kubectl reads the first document and ignores all others.

use std::path::Path;

use kube::config::{Kubeconfig, KubeconfigError};
use thiserror::Error;

use super::error::innermost;
use judge::yaml;

/// An error in a kubeconfig file, in one line.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A text in UTF-16 has an odd number of bytes.
    #[error("expected UTF-16, found half a character at its end")]
    CutUtf16,
    /// The text is not YAML, or has the wrong structure.
    #[error(transparent)]
    Yaml(yaml::Error),
    /// The file cannot be read.
    #[error("{}", innermost(.0))]
    Kube(KubeconfigError),
}

impl From<KubeconfigError> for ReadError {
    fn from(error: KubeconfigError) -> ReadError {
        // The error's own text has several lines.
        if let KubeconfigError::Parse(error) = error {
            return ReadError::Yaml(yaml::Error::Text(error));
        }
        ReadError::Kube(error)
    }
}

/// Reads a file. Relative paths in it start at its directory.
pub(super) fn read(path: &Path) -> Result<Kubeconfig, ReadError> {
    // kube-client 5.0 panics on these.
    if path.is_file() && std::fs::read(path).is_ok_and(|bytes| is_cut_utf16(&bytes)) {
        return Err(ReadError::CutUtf16);
    }
    Ok(Kubeconfig::read_from(path)?)
}

/// Parses a text.
pub(super) fn parse(text: &str) -> Result<Kubeconfig, ReadError> {
    Ok(Kubeconfig::from_yaml(text)?)
}

fn is_cut_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) && !bytes.len().is_multiple_of(2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_merged_and_empty_ones_are_skipped() {
        let kubeconfig = parse(
            "---\nclusters: [{name: a, cluster: {server: 'https://a'}}]\n---\n# nothing\n---\n\
             clusters: [{name: a}, {name: b}]\ncurrent-context: 7\n---\ncurrent-context: b\n---\n",
        )
        .unwrap();
        let clusters = kubeconfig.clusters.iter();
        let names: Vec<_> = clusters
            .map(|named| (named.name.as_str(), named.cluster.is_some()))
            .collect();
        assert_eq!(names, [("a", true), ("b", false)]);
        assert_eq!(kubeconfig.current_context.as_deref(), Some("7"));
    }

    #[test]
    fn paths_start_at_the_directory_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let text = "users: [{name: a, user: {tokenFile: a, client-key: /b}}]";
        std::fs::write(&file, text).unwrap();
        let kubeconfig = read(&file).unwrap();
        let user = kubeconfig.auth_infos.first().unwrap().auth_info.as_ref();
        let user = user.unwrap();
        let beside = dir.path().join("a");
        assert_eq!(user.token_file.as_deref(), beside.to_str());
        assert_eq!(user.client_key.as_deref(), Some("/b"));
    }

    #[test]
    fn texts_from_windows_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let read = |mark: &[u8], text: &[u8]| {
            std::fs::write(&file, [mark, text].concat()).unwrap();
            super::read(&file)
        };
        let text = "current-context: a";
        let units = text.encode_utf16();
        let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
        for (mark, bytes) in [
            (&[0xFF, 0xFE][..], little.as_slice()),
            (&[0xFE, 0xFF], &big),
            (&[0xEF, 0xBB, 0xBF], text.as_bytes()),
            (&[], text.as_bytes()),
        ] {
            let kubeconfig = read(mark, bytes).unwrap();
            assert_eq!(kubeconfig.current_context.as_deref(), Some("a"));
        }
        assert!(read(&[0xFF, 0xFE], b"a").is_err());
        assert!(read(&[0xFE, 0xFF], b"abc").is_err());
        assert!(read(&[], &[0xC3]).is_err());
    }

    #[test]
    fn an_error_is_one_line_with_its_place() {
        let error = parse("clusters: 7").unwrap_err().to_string();
        assert!(error.contains("line 1, column 11"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
