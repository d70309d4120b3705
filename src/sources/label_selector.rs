//! Label selectors in the syntax of kubectl, as the API server reads them.

use kube::core::{Expression, Selector};
use thiserror::Error;

/// A text that is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected a label selector such as `a=b,c in (d, e)`, found `{0}`")]
pub struct SelectorError(String);

/// Parses a selector. An empty one selects everything.
pub fn parse(text: &str) -> Result<Selector, SelectorError> {
    let requirements = split(text).into_iter().map(requirement);
    let expressions: Option<Vec<Expression>> = requirements.collect();
    let expressions = expressions.ok_or_else(|| SelectorError(text.to_owned()))?;
    Ok(expressions.into_iter().collect())
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

fn requirement(text: &str) -> Option<Expression> {
    let text = text.trim();
    if let Some(set) = text.strip_suffix(')') {
        let (head, values) = set.split_once('(')?;
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        let values: Option<_> = values.split(',').map(value).collect();
        return match operator.trim() {
            "in" => Some(Expression::In(self::key(key)?, values?)),
            "notin" => Some(Expression::NotIn(self::key(key)?, values?)),
            _ => None,
        };
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Some(Expression::NotEqual(key(left)?, value(right)?));
    }
    if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(key(left)?, value(right)?));
    }
    match text.strip_prefix('!') {
        Some(absent) => Some(Expression::DoesNotExist(key(absent)?)),
        None => Some(Expression::Exists(key(text)?)),
    }
}

/// Parses the key of a label, which must not be empty.
fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let is_key = !text.is_empty() && text.chars().all(|c| is_of_label(c) || c == '/');
    is_key.then(|| text.to_owned())
}

/// Parses the value of a label, which may be empty.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().all(is_of_label).then(|| text.to_owned())
}

fn is_of_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt as _;

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
            assert_eq!(parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        for text in [
            "a b",
            "in (1)",
            "a like (1)",
            "=1",
            "a=1,,b",
            "a=b=c",
            "a in (1",
            ",",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
