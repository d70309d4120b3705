//! The command line: help that fits a terminal, completions in a real shell, manual pages in a real
//! `man`, and the plugin's manifest.

use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_csr-warden");

fn csr_warden(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns every command as its words, from the help of each level.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let words: Vec<String> = all[at].clone();
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let help = stdout(&csr_warden(&[&args, ["--help"].as_slice()].concat()));
        let listed = help
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help");
        for name in listed {
            all.push([words.clone(), vec![name.to_owned()]].concat());
        }
        at += 1;
    }
    all
}

#[test]
fn help_fits_a_terminal_and_has_no_colors_in_a_pipe() {
    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    for words in commands {
        for flag in ["--help", "-h"] {
            let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
            args.push(flag);
            let help = stdout(&csr_warden(&args));
            assert!(!help.contains('\x1b'), "{args:?}");
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{args:?}: {line}");
            }
        }
    }
}

/// Flags without effect are rejected before the cluster is contacted.
#[test]
fn flags_without_effect_are_rejected() {
    for args in [
        ["doctor", "--nodes", "0"].as_slice(),
        &["explain", ""],
        &["explain", "csr/"],
        &["explain", "node/worker-1"],
        &["approve", "--yes", "csr-x7k2p", "a/b"],
    ] {
        let output = csr_warden(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("error: invalid value"), "{args:?}: {told}");
    }
}

/// An error names the cluster, because a user may have several.
#[test]
fn a_cluster_that_cannot_be_reached_is_named() {
    let server = "https://127.0.0.1:1";
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": "none"}}],
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    for command in ["status", "audit", "doctor", "approve", "explain csr-x7k2p"] {
        let output = Command::new(PROGRAM)
            .args(command.split(' '))
            .arg("--kubeconfig")
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let error = String::from_utf8(output.stderr).unwrap();
        let why = "the API server cannot be reached: Connection refused\n";
        assert!(error.contains(server) && error.ends_with(why), "{error}");
    }
}

/// A proxy of the environment is used unless `NO_PROXY` excludes the server, and errors name it.
#[test]
fn a_proxy_of_the_environment_is_named_and_can_be_excluded() {
    // RFC 5737: no such machine exists.
    let server = "https://192.0.2.10:6443";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    let error = |cluster: serde_json::Value, excluded: &str| {
        let kubeconfig = serde_json::json!({
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [{"name": "test", "context": {"cluster": "test"}}],
        });
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let output = Command::new(PROGRAM)
            .args(["status", "--kubeconfig"])
            .arg(&file)
            .env("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
            .env("NO_PROXY", excluded)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let proxied = "through the proxy http://127.0.0.1:1: Connection refused";
    let plain = serde_json::json!({"server": server});
    let found = error(plain.clone(), "192.0.2.11,.example");
    assert!(
        found.contains(proxied) && !found.contains("secret"),
        "{found}"
    );
    for excluded in ["192.0.2.0/24", "192.0.2.10:6443", "*"] {
        let found = error(plain.clone(), excluded);
        assert!(
            found.contains(server) && !found.contains("proxy"),
            "{found}"
        );
    }
    let named = serde_json::json!({"server": server, "proxy-url": "http://127.0.0.1:1"});
    let found = error(named, "*");
    assert!(found.contains(proxied), "{found}");
}

/// Runs bash with the completion script, as when Tab is pressed.
#[test]
fn bash_completes_commands_and_flags() {
    let script = stdout(&csr_warden(&["completion", "bash"]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let completed = |words: &[&str]| -> Vec<String> {
        let line = words.join(" ");
        let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let last = words.len() - 1;
        let ask = format!(
            "source {}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\nCOMP_LINE='{line}'\n\
             COMP_POINT=${{#COMP_LINE}}\n\
             f=$(complete -p csr-warden | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
             $f csr-warden '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.path().display(),
            list.join(" "),
            words[last],
            words[last - 1],
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &ask])
            .output()
            .unwrap();
        let found = stdout(&output);
        found.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(completed(&["csr-warden", "doc"]), ["doctor"]);
    assert_eq!(completed(&["csr-warden", "policy", "val"]), ["validate"]);
    assert_eq!(
        completed(&["csr-warden", "doctor", "--no-imp"]),
        ["--no-impersonation"]
    );
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&csr_warden(&["completion", shell]));
        for command in ["run", "check", "policy", "doctor"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn every_command_has_a_page_that_man_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    stdout(&csr_warden(&["man", path]));
    for words in commands() {
        let words = words.join("-");
        let page = match words.as_str() {
            "" => "csr-warden.1".to_owned(),
            words => format!("csr-warden-{words}.1"),
        };
        let file = dir.path().join(&page);
        assert!(file.exists(), "{page}");
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(!source.contains("EXTRA"), "{page}: {source}");
        if let Some(shown) = shown(&file) {
            assert!(shown.contains("SYNOPSIS"), "{page}: {shown}");
        }
    }
    let page = stdout(&csr_warden(&["man"]));
    let doctor = std::fs::read_to_string(dir.path().join("csr-warden-doctor.1")).unwrap();
    assert!(doctor.contains(".SH NOTES\nExit codes"), "{doctor}");
    let same = std::fs::read_to_string(dir.path().join("csr-warden.1")).unwrap();
    assert_eq!(page, same);
}

/// Renders the page with `man`. Returns `None` if it is not installed.
fn shown(page: &Path) -> Option<String> {
    let output = Command::new("man")
        .args(["--warnings=w", "-P", "cat", "-l"])
        .arg(page)
        .env("MANWIDTH", "80")
        .env("TERM", "dumb")
        .output()
        .ok()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    // In a container, `man` may be a script that reports that there are no pages.
    if complaints.contains("minimized") || !output.status.success() {
        return None;
    }
    assert!(complaints.is_empty(), "{}: {complaints}", page.display());
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
