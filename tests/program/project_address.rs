//! The project's address. `repository` in Cargo.toml decides it, and no file names another one.

use std::path::Path;
use std::process::Command;

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The path of the project on its forge.
const PATH: &str = "csr-warden/csr-warden";

/// Each address in this text that ends in [`PATH`], from its scheme on.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PATH).filter_map(|(at, _)| {
        let before = text.get(..at)?;
        let begin = before.rfind(|c: char| c.is_whitespace() || "\"'`()<>=".contains(c));
        let address = text.get(begin.map_or(0, |begin| begin + 1)..at + PATH.len())?;
        // A path in this repository, such as `deploy/helm/csr-warden/csr-warden`, is no address.
        address.contains("://").then_some(address)
    })
}

#[test]
fn addresses_are_recognized() {
    let text =
        "[a](https://forge.example/csr-warden/csr-warden/issues) deploy/csr-warden/csr-warden";
    let found: Vec<_> = addresses(text).collect();
    assert_eq!(found, ["https://forge.example/csr-warden/csr-warden"]);
}

#[test]
fn no_file_names_another_address() {
    assert!(REPOSITORY.ends_with(PATH), "{REPOSITORY}");
    let files = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(files.status.success(), "{files:?}");
    let files = String::from_utf8(files.stdout).unwrap();
    let mut named = 0;
    for file in files.split_terminator('\0') {
        // This file has an address of its own as an example.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if path.ends_with(file!()) {
            continue;
        }
        // Binary files have no addresses. A deleted file is still listed.
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        for address in addresses(&text) {
            assert_eq!(address, REPOSITORY, "{file}");
            named += 1;
        }
    }
    assert!(named > 0, "not even Cargo.toml was read");
}
