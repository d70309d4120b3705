//! Kubeconfig files. kube reads them too, but with a copy of the YAML reader for each of their types.

use std::io::{Error, ErrorKind, Result};
use std::path::{MAIN_SEPARATOR, Path};

use kube::config::Kubeconfig;

use super::error::innermost;
use judge::yaml;

/// Reads a file; what it names by relative paths lies beside it.
pub(super) fn read(path: &Path) -> std::result::Result<Kubeconfig, String> {
    let text = text_of(std::fs::read(path).map_err(|error| error.to_string())?);
    let mut kubeconfig = parse(&text.map_err(|error| error.to_string())?)?;
    if let Some(dir) = path.parent() {
        references(&mut kubeconfig, &|reference| {
            if Path::new(reference).is_relative()
                && let Some(beside) = dir.join(&*reference).to_str()
            {
                *reference = beside.to_owned();
            }
        });
    }
    Ok(kubeconfig)
}

/// Reads a text; of several documents what an earlier one says holds against a later one (kubectl takes
/// the first and does not look at others). The error is one line.
pub(super) fn parse(text: &str) -> std::result::Result<Kubeconfig, String> {
    let documents = yaml::documents::<Kubeconfig>(text).map_err(|error| yaml::describe(&error))?;
    let mut documents = documents.into_iter();
    documents
        .try_fold(Kubeconfig::default(), Kubeconfig::merge)
        .map_err(|error| innermost(&error))
}

/// Files that a kubeconfig names. A command without a directory is looked for on the PATH (client-go
/// `tools/clientcmd/loader.go`).
fn references(kubeconfig: &mut Kubeconfig, visit: &dyn Fn(&mut String)) {
    let clusters = kubeconfig.clusters.iter_mut();
    for cluster in clusters.filter_map(|named| named.cluster.as_mut()) {
        cluster.certificate_authority.iter_mut().for_each(visit);
    }
    let users = kubeconfig.auth_infos.iter_mut();
    for user in users.filter_map(|named| named.auth_info.as_mut()) {
        let command = user.exec.as_mut().and_then(|exec| exec.command.as_mut());
        user.client_certificate
            .iter_mut()
            .chain(&mut user.client_key)
            .chain(&mut user.token_file)
            .chain(command.filter(|command| command.contains(MAIN_SEPARATOR)))
            .for_each(visit);
    }
}

/// Windows writes UTF-16, and a mark at the beginning of UTF-8.
fn text_of(bytes: Vec<u8>) -> Result<String> {
    let text = match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_owned()).ok(),
        _ => String::from_utf8(bytes).ok(),
    };
    text.ok_or_else(|| Error::new(ErrorKind::InvalidData, "expected text in UTF-8 or UTF-16"))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, []) = bytes.as_chunks() else {
        return None;
    };
    let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_by_a_relative_path_lies_beside_the_file() {
        let mut kubeconfig = parse(
            "clusters: [{name: a, cluster: {certificate-authority: ca.crt}}]\n\
             ---\n\
             users:\n\
             - {name: a, user: {client-key: /a.key, client-certificate: a.crt, tokenFile: a}}\n\
             - {name: b, user: {exec: {command: ./b}}}\n\
             - {name: c, user: {exec: {command: c}}}\n\
             ---\n\
             current-context: 7\n",
        )
        .unwrap();
        assert_eq!(kubeconfig.current_context.as_deref(), Some("7"));
        let named = std::cell::RefCell::new(Vec::new());
        references(&mut kubeconfig, &|name| {
            named.borrow_mut().push(name.clone())
        });
        assert_eq!(*named.borrow(), ["ca.crt", "a.crt", "/a.key", "a", "./b"]);
    }

    #[test]
    fn texts_from_windows_are_read() {
        let text = "kind: Config";
        let units = text.encode_utf16();
        let little: Vec<u8> = units.clone().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
        for (mark, bytes) in [
            (&[0xFF, 0xFE][..], little.as_slice()),
            (&[0xFE, 0xFF], &big),
            (&[0xEF, 0xBB, 0xBF], text.as_bytes()),
            (&[], text.as_bytes()),
        ] {
            assert_eq!(text_of([mark, bytes].concat()).unwrap(), text);
        }
        assert!(text_of(vec![0xFF, 0xFE, 0x41]).is_err());
        assert!(text_of(vec![0xC3]).is_err());
    }

    #[test]
    fn an_empty_document_is_none() {
        for text in [
            "---\ncurrent-context: a\n---\n# end\n",
            "current-context: a\n---\n---\n",
        ] {
            assert_eq!(parse(text).unwrap().current_context.as_deref(), Some("a"));
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_is_told_with_its_place() {
        let error = parse("clusters: 7").unwrap_err();
        assert!(error.contains("line 1, column 11"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
