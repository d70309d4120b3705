//! The law of imports inside `src/`: a room imports only from rooms below it. Between crates Cargo
//! holds it.

use std::path::{Path, PathBuf};

/// The rooms from bottom to top, each with those that it must not import.
const ROOMS: [(&str, &[&str]); 6] = [
    (
        "cluster",
        &["sources", "telemetry", "controller", "doctor", "cli"],
    ),
    ("sources", &["telemetry", "controller", "doctor", "cli"]),
    ("telemetry", &["controller", "doctor", "cli"]),
    ("controller", &["doctor", "cli"]),
    ("doctor", &["controller", "cli"]),
    ("cli", &[]),
];

#[test]
fn every_import_points_downward() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for (room, above) in ROOMS {
        let files = rust_files(&src.join(room));
        assert!(!files.is_empty(), "no room {room}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (line, number) in text.lines().zip(1..) {
                let imports = |other: &&&str| line.contains(&format!("crate::{other}::"));
                if let Some(other) = above.iter().find(imports) {
                    breaches.push(format!(
                        "{}:{number}: `{room}` imports `{other}`",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn every_room_has_its_place() {
    let lib = include_str!("../../src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    let mut modules: Vec<&str> = modules.map(|name| name.trim_end_matches(';')).collect();
    let mut rooms: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    modules.sort_unstable();
    rooms.sort_unstable();
    assert_eq!(modules, rooms);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let below = folders.iter().flat_map(|folder| rust_files(folder));
    files.into_iter().filter(rust).chain(below).collect()
}
