//! The page as steps: a block of `sh` is run, and the block of `text` right after it is what it says.

use anyhow::{Result, bail};

pub const PAGE: &str = include_str!("../../../../docs/story.md");

/// What stands for what differs from time to time.
const ANYTHING: &str = "…";

pub struct Step {
    /// Where it begins.
    pub line: usize,
    pub script: String,
    pub quoted: Option<Quoted>,
}

/// Lines that must be among those that are said, in whatever order.
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
            _ => bail!("line {line}: a block that is neither a command nor what one says"),
        }
    }
    Ok(steps)
}

impl Quoted {
    /// The lines that are not there. Each stands for one line of its own.
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

/// The line with one space wherever a table has many.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is the quoted one, of which some may be left out.
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
