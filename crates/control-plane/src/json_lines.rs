//! Exchange of JSON lines with a program that answers each line with a line.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sends all questions to a new process of the program, and returns its answers in the same order.
pub fn ask<Q, A>(program: &Path, questions: &[Q]) -> Result<Vec<A>>
where
    Q: Serialize + Sync,
    A: DeserializeOwned,
{
    let shown = program.display();
    let mut process = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{shown}`"))?;
    let stdin = process.stdin.take().context("stdin")?;
    let stdout = process.stdout.take().context("stdout")?;
    let answers = std::thread::scope(|scope| {
        // Written and read concurrently: a pipe does not hold everything.
        let writer = scope.spawn(move || -> Result<()> {
            let mut stdin = BufWriter::with_capacity(1 << 16, stdin);
            for question in questions {
                serde_json::to_writer(&mut stdin, question)?;
                stdin.write_all(b"\n")?;
            }
            Ok(stdin.flush()?)
        });
        let answers: Result<Vec<A>> = BufReader::with_capacity(1 << 16, stdout)
            .lines()
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect();
        writer
            .join()
            .map_err(|_| anyhow!("the writer panicked"))?
            .and(answers)
    })?;
    ensure!(process.wait()?.success(), "`{shown}` failed");
    let (asked, answered) = (questions.len(), answers.len());
    ensure!(asked == answered, "{asked} questions, {answered} answers");
    Ok(answers)
}
