//! Label and field selectors.

use std::collections::BTreeMap;

use super::status_error::StatusError;

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelRequirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            LabelRequirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            LabelRequirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            LabelRequirement::Exists(key) => labels.contains_key(key),
            LabelRequirement::Absent(key) => !labels.contains_key(key),
        }
    }
}

/// One requirement on a field: its name, its value, and true for equality.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
}

/// The selectors of a list or a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`.
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Selector, StatusError> {
        let labels = split(labels)
            .into_iter()
            .map(|text| label_requirement(&text))
            .collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|text| !text.is_empty())
            .map(field_requirement)
            .collect::<Result<_, _>>()?;
        Ok(Selector { labels, fields })
    }

    /// Returns true if everything is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Renames the fields of the selector.
    pub(super) fn renamed(mut self, from: &str, to: &str) -> Selector {
        for demand in &mut self.fields {
            if let Some(rest) = demand.field.strip_prefix(from) {
                demand.field = format!("{to}{rest}");
            }
        }
        self
    }

    /// Returns the name, if the selector matches only one name.
    pub(super) fn name(&self) -> Option<&str> {
        let names = |demand: &&FieldRequirement| demand.equal && demand.field == "metadata.name";
        let demand = self.fields.iter().find(names)?;
        Some(&demand.value)
    }

    /// Returns the first field that is not among the known ones.
    pub(super) fn unknown_field(&self, known: &[&str]) -> Option<&str> {
        let unknown = |demand: &&FieldRequirement| !known.contains(&demand.field.as_str());
        self.fields
            .iter()
            .find(unknown)
            .map(|demand| demand.field.as_str())
    }

    /// Returns true if an object matches. `field` returns the value of a field.
    pub(super) fn matches<'a>(
        &self,
        labels: &BTreeMap<String, String>,
        field: impl Fn(&str) -> &'a str,
    ) -> bool {
        self.labels.iter().all(|demand| demand.holds(labels))
            && self
                .fields
                .iter()
                .all(|demand| (field(&demand.field) == demand.value) == demand.equal)
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn label_requirement(text: &str) -> Result<LabelRequirement, StatusError> {
    let wrong = || StatusError::bad_request(format!("unable to parse requirement: found '{text}'"));
    let text = text.trim();
    if let Some(set) = text.strip_suffix(')') {
        let (head, values) = set.split_once('(').ok_or_else(wrong)?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok(LabelRequirement::In(key.to_owned(), values)),
            (Some(key), Some("notin"), None) => Ok(LabelRequirement::NotIn(key.to_owned(), values)),
            (_, _, _) => Err(wrong()),
        };
    }
    let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), vec![value.trim().to_owned()]);
    let demand = if let Some(parts) = text.split_once("!=") {
        let (key, values) = pair(parts);
        LabelRequirement::NotIn(key, values)
    } else if let Some(parts) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, values) = pair(parts);
        LabelRequirement::In(key, values)
    } else if let Some(key) = text.strip_prefix('!') {
        LabelRequirement::Absent(key.trim().to_owned())
    } else {
        LabelRequirement::Exists(text.to_owned())
    };
    let (LabelRequirement::In(key, _)
    | LabelRequirement::NotIn(key, _)
    | LabelRequirement::Exists(key)
    | LabelRequirement::Absent(key)) = &demand;
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || !key.chars().all(is_part) {
        return Err(wrong());
    }
    Ok(demand)
}

fn field_requirement(text: &str) -> Result<FieldRequirement, StatusError> {
    let parts = if let Some(parts) = text.split_once("!=") {
        Some((parts, false))
    } else {
        let equal = text.split_once("==").or_else(|| text.split_once('='));
        equal.map(|parts| (parts, true))
    };
    let Some(((field, value), equal)) = parts else {
        return Err(StatusError::bad_request(format!(
            "invalid selector: '{text}'; can't understand '{text}'"
        )));
    };
    Ok(FieldRequirement {
        field: field.to_owned(),
        value: value.to_owned(),
        equal,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let selector = Selector::parse(selector, "").unwrap();
        selector.matches(&labels, |_| "")
    }

    #[test]
    fn labels_are_selected_as_kubectl_writes_them() {
        let labels = [("a", "1"), ("b", "2")];
        for yes in [
            "",
            "a",
            "!c",
            "a=1",
            "a==1,b!=3",
            "c!=1",
            "a in (1, 2),b",
            "a notin (3)",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in ["c", "!a", "a=2", "a=1,b!=2", "a in (2,3)", "a notin (1)"] {
            assert!(!selects(no, &labels), "{no}");
        }
        for wrong in ["a b", "in (1)", "a like (1)", "=1"] {
            assert!(Selector::parse(wrong, "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_selector_of_one_name_returns_the_name() {
        let selector = Selector::parse("", "metadata.name=x,spec.signerName!=y").unwrap();
        assert_eq!(selector.name(), Some("x"));
        assert_eq!(
            selector.unknown_field(&["metadata.name"]),
            Some("spec.signerName")
        );
        assert_eq!(
            Selector::parse("", "metadata.name!=x").unwrap().name(),
            None
        );
        assert!(Selector::parse("", "metadata.name").is_err());
    }
}
