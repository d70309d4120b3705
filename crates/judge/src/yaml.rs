//! YAML files, with errors that name the field, its location, the expected value and a suggestion.
//!
//! A text is parsed into one [`Value`], as Kubernetes does, and the type is deserialized from that. The
//! location of a wrong field is looked up in the text afterwards.

mod error;
mod location;
mod typed;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Options};

use crate::api_version::FORMER_API_VERSION;
pub(crate) use error::quoted;
pub use error::{Error, FieldError};
pub use location::Location;
use location::{Step, locate};
use typed::{Mismatch, Node};

/// Maximum number of nodes that aliases repeat: a small text must not become a large value.
const MAX_REPEATED_NODES: usize = 100_000;
/// Maximum size of all keys and scalars in bytes, including those that aliases repeat.
const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// Parses the only document of a text.
pub fn document(text: &str) -> Result<Value, Error> {
    value(text, Options::default())
}

/// Parses all documents of a text; empty ones are skipped.
pub fn documents(text: &str) -> Result<Vec<Value>, Error> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Parses a document of this kind, of at most `largest` bytes.
pub fn read<T: DeserializeOwned>(
    text: &str,
    largest: usize,
    (api_version, kind): (&str, &str),
) -> Result<T, Error> {
    if text.len() > largest {
        return Err(Error::TooLong {
            most: largest,
            found: text.len(),
        });
    }
    let read = value(text, strict(DuplicateKeyPolicy::Error)).and_then(|value| typed(value, text));
    read.map_err(|error| {
        // A wrong kind is the better explanation of an unknown field.
        let other_node = kind_of(text, api_version, &[kind]).err();
        other_node.unwrap_or(error)
    })
}

/// The fields that identify a document. They may have any value here, because [`kind_of`] reports a
/// wrong one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<Value>,
    kind: Option<Value>,
}

/// Returns the kind of a document, which must be one of these.
pub fn kind_of<'a>(text: &str, api_version: &str, kinds: &[&'a str]) -> Result<&'a str, Error> {
    if is_empty(text) {
        return Err(Error::Empty);
    }
    let head: Head = typed(value(text, strict(DuplicateKeyPolicy::FirstWins))?, text)?;
    let is = |found: &Option<Value>, expected: &str| {
        found.as_ref().and_then(Value::as_str) == Some(expected)
    };
    let Some(kind) = kinds.iter().find(|kind| is(&head.kind, kind)) else {
        let names: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        return Err(Error::Kind {
            field: "kind",
            expected: names.join(" or "),
            found: head.kind,
        });
    };
    if is(&head.api_version, FORMER_API_VERSION) {
        return Err(Error::FormerApiVersion);
    }
    if !is(&head.api_version, api_version) {
        return Err(Error::Kind {
            field: "apiVersion",
            expected: format!("`{api_version}`"),
            found: head.api_version,
        });
    }
    Ok(kind)
}

/// Returns true if a text has only blanks and comments.
fn is_empty(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// Options for the administrator's files: no merge keys, and limits on aliases.
fn strict(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_total_scalar_bytes: MAX_VALUE_BYTES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED_NODES },
    }
}

fn value(text: &str, options: Options) -> Result<Value, Error> {
    Ok(serde_saphyr::from_str_with_options(text, options)?)
}

/// Deserializes a type from the value of the text.
fn typed<T: DeserializeOwned>(value: Value, text: &str) -> Result<T, Error> {
    serde_path_to_error::deserialize(Node(value)).map_err(|error| {
        let path = error.path().clone();
        let wrong: Mismatch = error.into_inner();
        let place = locate(Step::of(&path), text);
        let error = FieldError {
            path: path.iter().next().map(|_| path.to_string()),
            at: place.map(|place| if wrong.is_key { place.key } else { place.value }),
            why: wrong.why,
            remedy: wrong.remedy,
        };
        error.into()
    })
}

/// The end of an error message about `found`: a suggestion, or empty if no expected word is similar.
pub fn suggestion(found: &str, expected: &[&str]) -> String {
    nearest(found, expected).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

/// The expected word that is most similar to `found`, if any is similar enough.
fn nearest<'a>(found: &str, expected: &[&'a str]) -> Option<&'a str> {
    let likeness = |word: &str| strsim::jaro_winkler(&found.to_lowercase(), &word.to_lowercase());
    let best = expected
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(*best)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_word_is_suggested_if_it_is_similar_enough() {
        let fields = ["addressesStableFor", "ipAddresses", "nodeName", "dnsNames"];
        assert_eq!(nearest("ipAdresses", &fields), Some("ipAddresses"));
        assert_eq!(nearest("nodename", &fields), Some("nodeName"));
        assert_eq!(nearest("independentSource", &fields), None);
        assert_eq!(nearest("anything", &[]), None);
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Outer {
        kind: String,
        api_version: String,
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        many: Vec<Inner>,
        #[serde(default)]
        level: Option<Level>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        max: usize,
        port: u16,
        names: Vec<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    enum Level {
        Low,
        High,
        Exact { value: u16 },
        Named(String),
    }

    fn outer(rest: &str) -> Result<Outer, String> {
        let text = format!("kind: Outer\napiVersion: a/v1\n{rest}");
        read(&text, 1024 * 1024, ("a/v1", "Outer")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_error_names_the_path_and_the_location_of_the_field() {
        for (rest, expected) in [
            (
                "inner:\n  max: many\n",
                "inner.max: expected a whole number, found string \"many\" at line 4, column 8",
            ),
            (
                "inner:\n  max: '7'\n",
                "inner.max: expected a whole number, found string \"7\" at line 4, column 8",
            ),
            (
                "inner: {max: -1}\n",
                "inner.max: expected a whole number, found integer `-1` at line 3, column 14",
            ),
            (
                "inner: {port: 70000}\n",
                "inner.port: expected a whole number up to 65535, found integer `70000` at line 3, \
                 column 15",
            ),
            (
                "many:\n- max: 1\n- names: [a, \"b\",\n    7]\n",
                "many[1].names[2]: expected a string, found integer `7` at line 6, column 5; quote \
                 it to make it a string",
            ),
            (
                "inner: {names: [no]}\n",
                "inner.names[0]: expected a string, found boolean `false` at line 3, column 17; \
                 quote it to make it a string",
            ),
            (
                "inner:\n",
                "inner: expected a mapping, found null at line 3, column 6",
            ),
            (
                "inner: []\n",
                "inner: expected a mapping, found a list at line 3, column 8",
            ),
            (
                "many: {}\n",
                "many: expected a list, found a mapping at line 3, column 7",
            ),
            (
                "many: [{naems: []}]\n",
                "many[0].naems: unknown field `naems`, expected one of max, port, names at line 3, \
                 column 9; did you mean `names`?",
            ),
            (
                "level: low\n",
                "level: expected one of Low, High, Exact, Named, found `low` at line 3, column 8; did you mean `Low`?",
            ),
            (
                "level: {Low: ~}\n",
                "level.Low: expected a string, found a mapping at line 3, column 14",
            ),
            (
                "level: {Exakt: {value: 7}}\n",
                "level: expected one of Low, High, Exact, Named, found `Exakt` at line 3, column 8; did you mean `Exact`?",
            ),
            (
                "level: {Exact: {valu: 7}}\n",
                "level.Exact.valu: unknown field `valu`, expected value at line 3, column 17; did \
                 you mean `value`?",
            ),
            (
                "level: {Exact: [7]}\n",
                "level.Exact: expected a mapping, found a list at line 3, column 16",
            ),
            (
                "level: {Named: 7}\n",
                "level.Named: expected a string, found integer `7` at line 3, column 16; quote it \
                 to make it a string",
            ),
            (
                "level: Exact\n",
                "level.Exact: expected a mapping, found a string at line 3, column 8",
            ),
            (
                "level: {Low: ~, High: ~}\n",
                "level: expected one field, found 2 at line 3, column 8",
            ),
            (
                "many: [&a {max: 1}, *a, {names: *a}]\n",
                "many[2].names: expected a list, found a mapping at line 3, column 33",
            ),
            (
                "inner: {max: 1, max: 2}\n",
                "`max` is repeated at line 3, column 17",
            ),
            (
                "inner:\n  <<: {max: 1}\n",
                "expected no merge key, found `<<` at line 4, column 3",
            ),
            (
                "inner: {max: .nan}\n",
                "expected a finite number, found `.nan` at line 3, column 14; quote it to make it a \
                 string",
            ),
            (
                "inner: {[a]: 1}\n",
                "expected a string as a key, found a list or a mapping at line 3, column 9",
            ),
            (
                "---\na: 1\n",
                "expected one document, found another at line 4, column 1",
            ),
        ] {
            assert_eq!(outer(rest), Err(expected.to_owned()), "{rest}");
        }
        let text = "kind: Outer\n";
        assert_eq!(
            typed::<Outer>(serde_json::json!({"kind": "Outer"}), text)
                .unwrap_err()
                .to_string(),
            "expected a field `apiVersion`, found none at line 1, column 1"
        );
    }

    #[test]
    fn every_type_of_value_is_parsed() {
        let read = outer(
            "inner:\n  max: 0x1F\n  port: 65535\n  names:\n  - '7'\n  - \"no\"\n  - !!str 1\n  - |-\n    a\n\
             level: {Exact: {value: 7}}\nmany: [&a {names: [x]}, *a]\n",
        );
        let inner = |names: &[&str]| Inner {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Inner::default()
        };
        assert_eq!(
            read.map(|outer| (outer.inner, outer.many, outer.level)),
            Ok((
                Inner {
                    max: 31,
                    port: 65535,
                    ..inner(&["7", "no", "1", "a"])
                },
                vec![inner(&["x"]), inner(&["x"])],
                Some(Level::Exact { value: 7 })
            ))
        );
    }

    #[test]
    fn aliases_do_not_make_a_small_text_large() {
        let mut aliases = "many:\n- &a0 {names: [x]}\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            aliases += &format!("- &a{level} [{below}]\n");
        }
        let deep = format!("inner: {}{}", "[".repeat(100), "]".repeat(100));
        for (text, expected) in [
            (
                aliases,
                "the text is too large, with all that its aliases repeat, at line ",
            ),
            (
                deep,
                "expected at most 64 levels, found more at line 3, column ",
            ),
        ] {
            let why = outer(&text).unwrap_err();
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn the_kind_is_checked_first() {
        let kind = |text: &str| {
            let kind = kind_of(text, "a/v1", &["One", "Other"]);
            kind.map_err(|error| error.to_string())
        };
        for (text, expected) in [
            ("apiVersion: a/v1\nkind: Other\nb: 1\nb: 2\n", Ok("Other")),
            ("{kind: One, apiVersion: a/v1}", Ok("One")),
            ("b: 1", Err("kind: expected `One` or `Other`, found none")),
            ("kind: ''", Err("kind: expected `One` or `Other`, found ``")),
            ("kind: 7", Err("kind: expected `One` or `Other`, found `7`")),
            (
                "kind: One\napiVersion: a/v2",
                Err("apiVersion: expected `a/v1`, found `a/v2`"),
            ),
            ("\n# of no use\n---\n", Err("the file is empty")),
            (
                "# text\nhello",
                Err("expected a mapping, found string \"hello\" at line 2, column 1"),
            ),
        ] {
            assert_eq!(kind(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
