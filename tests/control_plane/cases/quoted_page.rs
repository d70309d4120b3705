//! A page that quotes the output of its commands, as steps. A block of `sh` is run, and a block of `text` right
//! after it is its expected output. A block of `console` is run elsewhere.

use anyhow::{Result, bail};

/// The placeholder for volatile text.
const ANYTHING: &str = "…";

pub struct Step {
    /// The number of its first line.
    pub line: usize,
    pub script: String,
    pub quoted: Option<Quoted>,
}

/// Lines that must be in the output, in any order.
pub struct Quoted(Vec<String>);

pub fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((line, fence)) = lines.next() {
        let Some(language) = fence.strip_prefix("```") else {
            continue;
        };
        let inside: Vec<&str> = lines
            .by_ref()
            .map(|(_, text)| text)
            .take_while(|text| *text != "```")
            .collect();
        match (language, steps.last_mut()) {
            ("sh", _) => steps.push(Step {
                line,
                script: inside.join("\n") + "\n",
                quoted: None,
            }),
            ("text", Some(step)) if step.quoted.is_none() => {
                let lines = inside.into_iter().filter(|line| *line != ANYTHING);
                step.quoted = Some(Quoted(lines.map(words).collect()));
            }
            ("console", _) => {}
            _ => bail!("line {line}: a block that is neither a command nor what one says"),
        }
    }
    Ok(steps)
}

impl Quoted {
    /// Returns the missing lines. Each must match a line of its own.
    pub fn missing_in(&self, said: &str) -> Vec<&str> {
        let mut said: Vec<String> = said.lines().map(words).collect();
        let mut missing = Vec::new();
        for quoted in &self.0 {
            match said.iter().position(|line| is_like(line, quoted)) {
                Some(at) => drop(said.swap_remove(at)),
                None => missing.push(quoted.as_str()),
            }
        }
        missing
    }
}

/// Returns the line with single spaces.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns true if a line matches the quoted one, parts of which may be omitted.
fn is_like(line: &str, quoted: &str) -> bool {
    let mut parts = quoted.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}
