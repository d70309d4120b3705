//! Architecture: imports inside `src/` point downward (Cargo enforces it between crates), only the
//! clock reads the time of day, and the map in `CONTRIBUTING.md` matches the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules from bottom to top, each with those that it must not import.
const MODULES: [(&str, &[&str]); 6] = [
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
    for (module, above) in MODULES {
        let files = rust_files(&src.join(module));
        assert!(!files.is_empty(), "no module {module}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (line, number) in text.lines().zip(1..) {
                let imports = |other: &&&str| line.contains(&format!("crate::{other}::"));
                if let Some(other) = above.iter().find(imports) {
                    breaches.push(format!(
                        "{}:{number}: `{module}` imports `{other}`",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn every_module_is_listed() {
    let lib = include_str!("../../src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    let mut modules: Vec<&str> = modules.map(|name| name.trim_end_matches(';')).collect();
    let mut listed: Vec<&str> = MODULES.iter().map(|(module, _)| *module).collect();
    modules.sort_unstable();
    listed.sort_unstable();
    assert_eq!(modules, listed);
}

/// A test can run the whole program in virtual time only if nothing else asks the system.
#[test]
fn only_the_clock_reads_the_time_of_day() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for file in rust_files(&src) {
        let text = std::fs::read_to_string(&file).unwrap();
        let reads = ["Timestamp::now", "SystemTime::now", "Zoned::now"];
        if !file.ends_with("cluster/clock.rs") && reads.iter().any(|read| text.contains(read)) {
            breaches.push(file);
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");

#[test]
fn the_map_of_contributing_matches_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = |path: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(root.join(path)).unwrap();
        let entries = entries.map(|entry| entry.unwrap());
        let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        folders
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    let mut crates: BTreeSet<String> = folders("crates");
    crates = crates
        .into_iter()
        .map(|name| format!("crates/{name}"))
        .collect();
    crates.insert("csr-warden".to_owned());
    assert_eq!(rows("crate"), crates);
    assert_eq!(rows("module of `src/`"), folders("src"));
    let judge = std::fs::read_to_string(root.join("crates/judge/src/lib.rs")).unwrap();
    let modules = judge.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        Some(line.strip_prefix("mod ")?.trim_end_matches(';').to_owned())
    });
    assert_eq!(rows("module of the judge"), modules.collect());
}

/// The first code span of each row of the table with this first heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let lines = CONTRIBUTING.lines();
    let table = lines.skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn every_file_that_contributing_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        "",
        "src/controller",
        "src/cli",
        "crates/control-plane",
        "tests/control_plane/cases",
        "tests/control_plane/cases/conformance",
    ];
    let exists = |name: &&str| {
        places
            .iter()
            .any(|place| root.join(place).join(name).exists())
    };
    let prose = CONTRIBUTING.split("```").step_by(2);
    let spans = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
    let named = |span: &&str| {
        let is_path = span.contains('/') || span.ends_with(".rs");
        is_path
            && !span.contains([' ', '<', '*'])
            && !span.starts_with(['/', '-'])
            && !span.starts_with("target/")
            && !span.starts_with("fuzz/artifacts")
    };
    let missing: Vec<&str> = spans.filter(named).filter(|span| !exists(span)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.partition(|path| path.is_dir());
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let below = folders.iter().flat_map(|folder| rust_files(folder));
    files.into_iter().filter(rust).chain(below).collect()
}
