//! Every command in the README is run by `.ci/run` or by a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The place where a command of the README is run.
enum By {
    /// `.ci/run`, word for word. More words may follow.
    Ci,
    /// A test in this file, which contains this text.
    Test(&'static str, &'static str),
}

/// These cases on a real control plane read their commands from the README.
const MANIFESTS: &str = "tests/control_plane/cases/manifests.rs";

const COMMANDS: [(&str, By); 8] = [
    ("cargo run --release -- demo", By::Ci),
    ("cargo test", By::Ci),
    (
        "deploy/image/build",
        By::Test(
            "deploy/image/check",
            "deploy/image/build \"$work/image.tar\"",
        ),
    ),
    (
        "helm install csr-warden deploy/helm/csr-warden -n kube-system \
         --set image.repository=registry.example.org/csr-warden",
        By::Test(
            "tests/control_plane/cases/chart/releases.rs",
            "\"install\", \"csr-warden\", CHART",
        ),
    ),
    (
        "kubectl apply --server-side -k .",
        By::Test(
            MANIFESTS,
            "apply(&cluster, Kustomization::new(example)?.path())",
        ),
    ),
    (
        "kubectl get csr",
        By::Test(MANIFESTS, "cluster.kubectl(&[\"get\", \"csr\"])"),
    ),
    (
        "kubectl logs -n kube-system deployment/csr-warden",
        By::Test(MANIFESTS, "\"deployment/csr-warden\""),
    ),
    (
        "kubectl get --raw \
         /api/v1/namespaces/kube-system/services/csr-warden:http/proxy/metrics",
        By::Test("deploy/base/service.yaml", "- name: http"),
    ),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the lines of the shell code blocks.
fn commands(markdown: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), None) => inside = Some(language == "sh"),
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) if !line.is_empty() => commands.push(line.to_owned()),
            (None, _) => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_is_run() {
    let found: BTreeSet<String> = commands(&read("README.md")).into_iter().collect();
    let known: BTreeSet<String> = COMMANDS
        .iter()
        .map(|(command, _)| (*command).into())
        .collect();
    assert_eq!(
        found, known,
        "the README and the table in tests/program/readme.rs differ"
    );

    let ci = read(".ci/run");
    let run: Vec<&str> = ci.lines().map(str::trim).collect();
    for (command, by) in COMMANDS {
        match by {
            By::Ci => {
                let in_words = |line: &&str| {
                    let rest = line.strip_prefix(command);
                    rest.is_some_and(|rest| {
                        rest.is_empty()
                            || [" -- ", " --locked"]
                                .iter()
                                .any(|end| rest.starts_with(end))
                    })
                };
                assert!(run.iter().any(in_words), ".ci/run does not run `{command}`");
            }
            By::Test(file, text) => {
                let squeezed = |text: &str| text.split_whitespace().collect::<String>();
                let there = squeezed(&read(file)).contains(&squeezed(text));
                assert!(
                    there,
                    "{file} does not do what `{command}` does: no `{text}`"
                );
            }
        }
    }
}

#[test]
fn the_first_two_commands_show_and_test_it() {
    let commands = commands(&read("README.md"));
    let first: Vec<&str> = commands.iter().take(2).map(String::as_str).collect();
    assert_eq!(first, ["cargo run --release -- demo", "cargo test"]);
}

/// Returns the words in a list of `tests/versions`.
fn versions(list: &str) -> Vec<String> {
    let script = read("tests/versions");
    let (_, rest) = script.split_once(&format!("\n{list}=(")).expect(list);
    let (words, _) = rest.split_once(')').expect(list);
    words.split_whitespace().map(str::to_owned).collect()
}

/// The page has a row for each version that `tests/versions` runs. The README names those whose cases have
/// all passed, and no other.
#[test]
fn the_readme_names_the_versions_that_passed() {
    let page = read("docs/kubernetes-versions.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("|--"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let listed: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(listed, [versions("supported"), versions("next")].concat());
    let passed = rows.iter().filter(|row| row[1].starts_with("all "));
    let passed: Vec<&str> = passed.map(|row| row[0]).collect();

    let readme = read("README.md");
    let sentence = readme.split_once("with each of\nKubernetes ");
    let (named, _) = sentence
        .and_then(|(_, rest)| rest.split_once(" ("))
        .expect("a sentence about versions");
    let named = named.replace(" and ", ", ");
    assert_eq!(named.split(", ").collect::<Vec<_>>(), passed);
}

/// Returns the anchor of a heading on GitHub.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    let name: String = heading.trim().chars().filter(kept).collect();
    name.to_lowercase().replace(' ', "-")
}

/// Adds the pages of a directory and of those below it.
pub(crate) fn pages_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
}

/// A newcomer reads it to the end.
#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 120);
}

/// Links into the repository lead to an existing file and heading.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "RELEASING.md",
    ];
    let mut docs = Vec::new();
    pages_below(&root.join("docs"), &mut docs);
    let docs = docs.iter().map(|page| {
        let page = page.strip_prefix(root).expect("in the repository");
        page.display().to_string()
    });
    for page in pages.into_iter().map(str::to_owned).chain(docs) {
        let text = read(&page);
        let page_dir = Path::new(&page).parent().expect("a directory");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.contains("://"))
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() {
                Path::new(&page).to_owned()
            } else {
                page_dir.join(file)
            };
            assert!(
                root.join(&path).exists(),
                "{page} links to {link}, which is not there"
            );
            let there = || read(path.to_str().expect("text"));
            let is_it = |line: &str| anchor(line.trim_start_matches('#')) == heading;
            assert!(
                heading.is_empty() || there().lines().any(|l| l.starts_with('#') && is_it(l)),
                "{page} links to {link}, and that page has no such heading"
            );
        }
    }
}
