//! Patterns of Nodes' names, in inventories and policies.

use crate::csr::names::NodeName;

/// The form of a pattern, as errors name it.
pub(crate) const EXPECTED: &str = "a Node's name, with `*` for any characters but a dot";

/// Returns true if the text is a Node's name or a pattern of names.
pub(crate) fn is_well_formed(pattern: &str) -> bool {
    NodeName::parse(&pattern.replace('*', "x")).is_some()
}

/// Returns true if the pattern matches this name. Each `*` matches any characters but a dot.
pub(crate) fn matches(pattern: &str, name: &NodeName) -> bool {
    let labels = |text: &'_ str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (patterns, labels) = (labels(pattern), labels(name.as_str()));
    patterns.len() == labels.len()
        && patterns
            .iter()
            .zip(&labels)
            .all(|(pattern, label)| label_matches(pattern, label))
}

fn label_matches(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_characters_but_a_dot() {
        for (pattern, name, expected) in [
            ("worker-*", "worker-1", true),
            ("worker-*", "worker-1.example", false),
            ("worker-*.example", "worker-1.example", true),
            ("*", "a", true),
            ("*", "a.b", false),
            ("*-*-c", "a-b-c", true),
            ("*-*-c", "a-c", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("worker-1", "worker-10", false),
            ("worker-1", "worker-1", true),
            ("orker-*", "worker-1", false),
        ] {
            let name = NodeName::parse(name).unwrap();
            assert_eq!(matches(pattern, &name), expected, "{pattern} {name}");
        }
    }
}
