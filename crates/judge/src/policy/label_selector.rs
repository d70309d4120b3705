//! Label selectors in the syntax of kubectl, as the API server reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields;

/// Maximum length of a label's name and of its value.
const MAX_NAME: usize = 63;
/// Maximum length of the prefix of a label's key.
const MAX_PREFIX: usize = 253;

/// A label selector. An empty one selects everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    text: String,
    requirements: Vec<Requirement>,
}

/// A requirement for one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Exists,
    DoesNotExist,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Returns true if an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.condition {
                Condition::Exists => value.is_some(),
                Condition::DoesNotExist => value.is_none(),
                Condition::In(values) => value.is_some_and(|value| values.contains(value)),
                Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for LabelSelector {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let requirements = split(text).into_iter().map(Requirement::parse);
        let requirements: Option<_> = requirements.collect();
        Ok(LabelSelector {
            text: text.to_owned(),
            requirements: requirements.ok_or(())?,
        })
    }
}

/// The text as it was written.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for LabelSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields::parsed(deserializer, |_| {
            "a label selector such as `a=b,c in (d, e)`".to_owned()
        })
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Requirement> {
        let text = text.trim();
        let (key, condition) = if let Some(set) = text.strip_suffix(')') {
            let (head, values) = set.split_once('(')?;
            let (key, operator) = head.trim().split_once(char::is_whitespace)?;
            let values: Option<_> = values.split(',').map(value).collect();
            match operator.trim() {
                "in" => (key, Condition::In(values?)),
                "notin" => (key, Condition::NotIn(values?)),
                _ => return None,
            }
        } else if let Some((key, right)) = text.split_once("!=") {
            (key, Condition::NotIn(vec![value(right)?]))
        } else if let Some((key, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
            (key, Condition::In(vec![value(right)?]))
        } else if let Some(key) = text.strip_prefix('!') {
            (key, Condition::DoesNotExist)
        } else {
            (text, Condition::Exists)
        };
        Some(Requirement {
            key: self::key(key)?,
            condition,
        })
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut is_inside = false;
    text.split(move |c| {
        is_inside = (is_inside || c == '(') && c != ')';
        c == ',' && !is_inside
    })
    .collect()
}

/// Parses the key of a label: a name, with or without a DNS subdomain before it.
fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let is_key = match text.split_once('/') {
        Some((prefix, name)) => is_prefix(prefix) && is_name(name),
        None => is_name(text),
    };
    is_key.then(|| text.to_owned())
}

/// Parses the value of a label, which may be empty.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_empty() || is_name(text)).then(|| text.to_owned())
}

/// Returns true for up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.len() <= MAX_NAME
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(is_inner)
}

/// Returns true for a DNS-1123 subdomain.
fn is_prefix(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= MAX_PREFIX
        && text.split('.').all(|label| {
            label.starts_with(is_end) && label.ends_with(is_end) && label.chars().all(is_inner)
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_the_api_server_selects_them() {
        let labels = [("a", "1"), ("b.example/c", "2")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = BTreeMap::from(labels);
        for (text, expected) in [
            ("", true),
            ("a", true),
            ("!d", true),
            ("a=1", true),
            ("a == 1, b.example/c!=3", true),
            ("d!=1", true),
            ("a in (1, 2),b.example/c", true),
            ("a notin (3)", true),
            ("d notin (3)", true),
            ("d", false),
            ("!a", false),
            ("a=2", false),
            ("a=1,b.example/c!=2", false),
            ("a in (2,3)", false),
            ("a notin (1)", false),
            ("d=", false),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), expected, "{text}");
        }
    }

    #[test]
    fn a_selector_that_the_api_server_rejects_is_none() {
        for text in [
            "a b",
            "in (1)",
            "a like (1)",
            "=1",
            "a=1,,b",
            "a=b=c",
            "a in (1",
            ",",
            "-a",
            "a=1.",
            "/a",
            "a/",
            "B.example/c",
            "b..example/c",
            "a/b/c",
        ] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
        for (length, is_selector) in [(63, true), (64, false)] {
            let name = "a".repeat(length);
            assert_eq!(name.parse::<LabelSelector>().is_ok(), is_selector);
            let with_value = format!("a={name}").parse::<LabelSelector>();
            assert_eq!(with_value.is_ok(), is_selector);
        }
    }
}
