//! A session of kubectl with one server, whose output is recorded without volatile parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::exchange::mask;
use control_plane::assets::Assets;

/// A session with one server.
pub struct Session {
    program: PathBuf,
    dir: PathBuf,
    kubeconfig: PathBuf,
    pub said: BTreeMap<String, Value>,
}

impl Session {
    pub fn new(assets: &Assets, dir: &Path, kubeconfig: PathBuf) -> Session {
        Session {
            program: assets.kubectl.clone(),
            dir: dir.to_owned(),
            kubeconfig,
            said: BTreeMap::new(),
        }
    }

    /// Runs kubectl as administrator in the directory of the files. Returns exit code, stdout and
    /// stderr.
    pub async fn run(&self, args: &[&str]) -> Result<(i32, String, String)> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.dir)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.dir.join("cache"))
            .args(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let stdout = String::from_utf8(output.stdout)?;
        let stderr = String::from_utf8(output.stderr)?;
        println!("$ kubectl {}\n{stdout}{stderr}", args.join(" "));
        let code = output.status.code().context("kubectl was killed")?;
        Ok((code, stdout, stderr))
    }

    /// Records a command. The expected exit code is given, because a failure on both servers would
    /// prove nothing.
    pub async fn record(&mut self, code: i32, args: &[&str]) -> Result<()> {
        let (found, stdout, stderr) = self.run(args).await?;
        ensure!(
            found == code,
            "kubectl {args:?}: expected {code}, found {found}\n{stderr}"
        );
        let name = format!("{:02} kubectl {}", self.said.len(), args.join(" "));
        // kube-apiserver returns rules and warnings in any order.
        let (mut stdout, mut stderr) = (lines(&stdout), lines(&stderr));
        if args.contains(&"--list") {
            stdout.sort();
        }
        stderr.sort();
        self.said.insert(name, json!([stdout, stderr]));
        Ok(())
    }

    /// Records only the exit code, under the name of the command.
    pub async fn exit_code(&mut self, args: &[&str]) -> Result<()> {
        let (code, _, _) = self.run(args).await?;
        let before = self.said.insert(args.join(" "), code.into());
        ensure!(before.is_none(), "kubectl {args:?} is recorded twice");
        Ok(())
    }
}

/// Returns the lines without volatile parts: numbers, times, ages, column widths, and Go's format
/// of rejected values.
fn lines(text: &str) -> Vec<String> {
    let is_age = |word: &str| {
        let ends = |c: char| ['s', 'm', 'h', 'd'].contains(&c);
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.ends_with(ends)
            && word.chars().all(|c| c.is_ascii_digit() || ends(c))
    };
    let line = |line: &str| -> String {
        let mut line = line.to_owned();
        let refused = "Invalid value: \"";
        if let Some((before, after)) = line.split_once(refused)
            && let Some((_, why)) = after.split_once("\": ")
        {
            line = format!("{before}{refused}\": {why}");
        }
        let words = line.split_whitespace();
        let words = words.map(|word| {
            if is_age(word) {
                "AGE".to_owned()
            } else {
                mask(word)
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines = text
        .lines()
        .map(line)
        .filter(|line| !line.contains("CreationTimestamp"));
    lines.collect()
}
