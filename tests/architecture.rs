//! The law of imports: a module imports only from modules above it, and the core names nothing of
//! clusters and of concurrency. So the judge can be read, tested and built without the rest.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// From top to bottom.
const MODULES: [&str; 15] = [
    "yaml",
    "finding",
    "csr",
    "evidence",
    "policy",
    "rules",
    "verdict",
    "cluster",
    "sources",
    "telemetry",
    "controller",
    "doctor",
    "sim",
    "cli",
    "main",
];
/// The last module of the core.
const CORE_ENDS_WITH: &str = "verdict";
/// What the core never names.
const OUTSIDE: [&str; 3] = ["kube", "tokio", "k8s_openapi"];

/// What breaks the law.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let law = MODULES.join(" -> ");
        write!(
            f,
            "{}:{}: {}\n  the law: {law}; a module imports only from those before it, and up to \
             `{CORE_ENDS_WITH}` none names {}",
            self.file.display(),
            self.line,
            self.what,
            OUTSIDE.join(", ")
        )
    }
}

#[test]
fn every_import_points_upward() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = names_at_the_root(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    let mut seen = 0;
    let mut breaches = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        if inside == Path::new("lib.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = Path::new("src").join(inside);
        breaches.extend(check(&shown, &text, &names));
        seen += 1;
    }
    let shown: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    assert!(breaches.is_empty(), "\n{}", shown.join("\n"));
    assert!(seen > 30, "only {seen} files were looked at");
}

/// The breaches in one file, `src/ROOM.rs` or `src/ROOM/…`. `names` says which module a name at the
/// root of the crate is from.
fn check(file: &Path, text: &str, names: &BTreeMap<String, String>) -> Vec<Breach> {
    let breach = |line, what| Breach {
        file: file.to_owned(),
        line,
        what,
    };
    let module = module_of(file);
    let Some(rank) = rank(&module) else {
        return vec![breach(
            1,
            format!("`{module}` is no module that the law knows"),
        )];
    };
    let in_core = Some(rank) <= self::rank(CORE_ENDS_WITH);
    let code = without_comments_and_text(text);
    let mut breaches = Vec::new();
    for (offset, word) in words(&code) {
        let line = code[..offset].lines().count().max(1);
        let after = &code[offset + word.len()..];
        let before = code[..offset].trim_end();
        let is_path = after.trim_start().starts_with("::");
        // `::kube` is the crate, `a::kube` and `a.kube` are something else's own.
        let owner = before.strip_suffix("::").map(str::trim_end);
        let is_name_or_generic = |c: char| c.is_alphanumeric() || c == '_' || c == '>';
        let is_own =
            before.ends_with('.') || owner.is_some_and(|owner| owner.ends_with(is_name_or_generic));
        // `main.rs` is a crate of its own, to which the library is another.
        if (word == "crate" && is_path) || (word == "csr_warden" && is_path && !is_own) {
            for name in imported(&after.trim_start()["::".len()..]) {
                let from = names.get(&name).cloned().unwrap_or(name);
                match self::rank(&from) {
                    Some(above) if above < rank || from == module => {}
                    Some(_) => breaches.push(breach(line, format!("`{module}` imports `{from}`"))),
                    None => breaches.push(breach(line, format!("`{from}` is no module"))),
                }
            }
        }
        if in_core && !is_own && OUTSIDE.contains(&word) && names_a_crate(before, after) {
            breaches.push(breach(
                line,
                format!("`{module}` is of the core and names `{word}`"),
            ));
        }
    }
    breaches
}

/// `kube::…`, `use kube;`, `use {kube, …}` and `extern crate kube`, but not a variable of that name.
fn names_a_crate(before: &str, after: &str) -> bool {
    after.trim_start().starts_with("::")
        || ["use", "crate", "{", ","]
            .iter()
            .any(|lead| before.ends_with(lead))
            && after.trim_start().starts_with([';', ',', '}', ' '])
            && before.rsplit(';').next().is_some_and(|statement| {
                statement
                    .split_whitespace()
                    .any(|word| word == "use" || word == "extern")
            })
}

fn module_of(file: &Path) -> String {
    let mut parts = file.components().skip(1);
    let first = parts.next().unwrap();
    Path::new(first.as_os_str())
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

fn rank(module: &str) -> Option<usize> {
    MODULES.iter().position(|other| *other == module)
}

/// The first names of what follows `crate::`: of `{a::B, c}` that is `a` and `c`.
fn imported(after: &str) -> Vec<String> {
    let after = after.trim_start();
    let first = |text: &str| words(text).next().map(|(_, word)| word.to_owned());
    let Some(group) = after.strip_prefix('{') else {
        return first(after).into_iter().collect();
    };
    let mut depth = 0_usize;
    let mut names = Vec::new();
    let mut begun = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.extend(first(&group[begun..at]));
                begun = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// What `pub use module::{…}` in `lib.rs` puts at the root of the crate.
fn names_at_the_root(lib: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in without_comments_and_text(lib).split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else {
            continue;
        };
        let (module, rest) = path.split_once("::").expect("a path");
        for name in imported(rest) {
            names.insert(name, module.trim().to_owned());
        }
    }
    names
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + text[rest..].find(is_part)?;
        let length = text[begin..]
            .find(|c| !is_part(c))
            .unwrap_or(text.len() - begin);
        rest = begin + length;
        Some((begin, &text[begin..rest]))
    })
}

/// The same text, with blanks in the place of comments and string literals.
fn without_comments_and_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        let (skipped, after) = rest.split_at(length);
        code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn an_import_that_points_downward_is_found() {
    let names = names_at_the_root("pub use verdict::{Approval, judge};\npub use rules::SanProof;");
    let found = |file: &str, text: &str| -> Vec<(usize, String)> {
        let breaches = check(Path::new(file), text, &names);
        breaches
            .into_iter()
            .map(|breach| (breach.line, breach.what))
            .collect()
    };
    let allowed = "use crate::csr::{Object, names::San};\nuse crate::{finding::Code, policy};\n\
                   // use crate::cluster::x;\nconst A: &str = \"crate::cli::kube::x\";\n\
                   use crate::rules::Case;\nuse super::state;\n";
    assert_eq!(found("src/rules/names.rs", allowed), []);

    let downward = "//! Doc.\n\nuse crate::finding::Code;\nuse crate::{\n    policy::Policy,\n    cluster::watch,\n};\n";
    assert_eq!(
        found("src/csr/mod.rs", downward),
        [
            (4, "`csr` imports `policy`".into()),
            (4, "`csr` imports `cluster`".into())
        ]
    );
    // Not only in `use`, and by what the name stands for.
    assert_eq!(
        found("src/policy/mod.rs", "\nfn f() { crate::judge(); }"),
        [(2, "`policy` imports `verdict`".into())]
    );
    assert_eq!(
        found("src/cluster/watch.rs", "use crate::controller::Controller;"),
        [(1, "`cluster` imports `controller`".into())]
    );
    assert_eq!(
        found("src/telemetry/audit.rs", "use crate::Judgement;"),
        [(1, "`Judgement` is no module".into())]
    );
    assert_eq!(
        found("src/helpers.rs", ""),
        [(1, "`helpers` is no module that the law knows".into())]
    );
}

#[test]
fn a_core_that_names_a_cluster_is_found() {
    let found = |file: &str, text: &str| check(Path::new(file), text, &BTreeMap::new()).len();
    for text in [
        "use kube::Client;",
        "use k8s_openapi::ByteString;",
        "use {serde::Serialize, tokio};",
        "use tokio;",
        "extern crate tokio;",
        "fn f(_: ::kube::Client) {}",
        "type T = k8s_openapi :: ByteString;",
    ] {
        assert_eq!(found("src/evidence/nodes.rs", text), 1, "{text}");
        assert_eq!(found("src/cluster/nodes.rs", text), 0, "{text}");
    }
    for text in [
        "// kube::Client",
        "let kube = 1;",
        "/// as tokio does",
        "\"tokio::x\"",
    ] {
        assert_eq!(found("src/evidence/nodes.rs", text), 0, "{text}");
    }
}

#[test]
fn a_breach_says_where_and_what_the_law_is() {
    let breaches = check(
        Path::new("src/csr/pem.rs"),
        "\nuse crate::cli::x;",
        &BTreeMap::new(),
    );
    let text = breaches[0].to_string();
    assert!(
        text.starts_with(
            "src/csr/pem.rs:2: `csr` imports `cli`\n  the law: yaml -> finding -> csr"
        )
    );
}
