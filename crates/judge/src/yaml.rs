//! The administrator's files: YAML, with errors that say where, what was expected, and what was
//! probably meant.

mod documents;
mod erased;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Options};

pub use documents::documents;
use erased::{AnyDeserializer, Erased, Raised, Reader};

/// Reads the one document that the text is.
pub fn document<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    document_with(text, Options::default())
}

fn document_with<T: DeserializeOwned>(text: &str, options: Options) -> Result<T, Error> {
    let mut document = None;
    read_document(text, options, &mut |deserializer| {
        document = Some(T::deserialize(Erased(deserializer))?);
        Ok(())
    })?;
    document.ok_or_else(|| serde::de::Error::custom("expected a document"))
}

fn read_document(
    text: &str,
    options: Options,
    read: &mut dyn FnMut(&mut dyn AnyDeserializer<'_>) -> Result<(), Raised>,
) -> Result<(), Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        let mut reader = Reader::new(deserializer);
        let result = read(&mut reader);
        reader.told(result)
    })
}

/// Reads a document of at most `largest` bytes that has this kind.
pub fn read<T: DeserializeOwned>(
    text: &str,
    largest: usize,
    (api_version, kind): (&str, &str),
) -> Result<T, String> {
    if text.len() > largest {
        return Err(format!(
            "expected at most {largest} bytes, found {}",
            text.len()
        ));
    }
    document(text).map_err(|error| {
        // Fields are only wrong in a document of the right kind.
        let of_another = kind_of(text, api_version, &[kind]).err();
        of_another.unwrap_or_else(|| describe(&error))
    })
}

/// What every document says of itself. It may be anything: that it is wrong is for us to say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<Value>,
    kind: Option<Value>,
}

/// Which of these kinds a document has; else why it has none of them.
pub fn kind_of<'a>(text: &str, api_version: &str, kinds: &[&'a str]) -> Result<&'a str, String> {
    if is_empty(text) {
        return Err("the file is empty".to_owned());
    }
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::FirstWins };
    let head: Head = document_with(text, options).map_err(|error| describe(&error))?;
    let is = |found: &Option<Value>, expected: &str| {
        found.as_ref().and_then(Value::as_str) == Some(expected)
    };
    let Some(kind) = kinds.iter().find(|kind| is(&head.kind, kind)) else {
        let names: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        return Err(wrong("kind", &names.join(" or "), head.kind.as_ref()));
    };
    if !is(&head.api_version, api_version) {
        let expected = format!("`{api_version}`");
        return Err(wrong("apiVersion", &expected, head.api_version.as_ref()));
    }
    Ok(kind)
}

/// Whether there is nothing but blanks and comments.
fn is_empty(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

fn wrong(field: &str, expected: &str, found: Option<&Value>) -> String {
    match found {
        None => format!("{field}: expected {expected}, found none"),
        Some(Value::String(found)) => format!("{field}: expected {expected}, found `{found}`"),
        Some(found) => format!("{field}: expected {expected}, found `{found}`"),
    }
}

/// One sentence for what is wrong, with its place, and what was probably meant.
pub fn describe(error: &Error) -> String {
    let error = error.without_snippet();
    // The library's own sentences are for programmers.
    let at = |location: &Location| {
        let (line, column) = (location.line(), location.column());
        format!("at line {line}, column {column}")
    };
    if let Error::DuplicateMappingKey {
        key: Some(key),
        location,
    } = error
    {
        return format!("`{key}` stands here a second time, {}", at(location));
    }
    if let Error::MultipleDocuments { location, .. } = error {
        return format!("expected one document, found another {}", at(location));
    }
    let meant = if let Error::SerdeUnknownField {
        field, expected, ..
    } = error
    {
        meant(field, expected)
    } else if let Error::SerdeUnknownVariant {
        variant, expected, ..
    } = error
    {
        meant(variant, expected)
    } else {
        String::new()
    };
    format!("{error}{meant}")
}

/// What the sentence that names `found` ends with: the word that was probably meant, if one is near.
pub fn meant(found: &str, expected: &[&str]) -> String {
    nearest(found, expected).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

/// The word that somebody meant who wrote `found`, if it is near to one.
fn nearest<'a>(found: &str, expected: &[&'a str]) -> Option<&'a str> {
    let likeness = |word: &str| strsim::jaro_winkler(&found.to_lowercase(), &word.to_lowercase());
    let best = expected
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(*best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_if_it_is_near() {
        let fields = ["addressesStableFor", "ipAddresses", "nodeName", "dnsNames"];
        assert_eq!(nearest("ipAdresses", &fields), Some("ipAddresses"));
        assert_eq!(nearest("nodename", &fields), Some("nodeName"));
        assert_eq!(nearest("independentSource", &fields), None);
        assert_eq!(nearest("anything", &[]), None);
    }

    #[test]
    fn a_second_document_is_named_with_its_place() {
        let read = document::<Value>("a: 1\n---\nb: 2\n");
        assert_eq!(
            read.map_err(|error| describe(&error)),
            Err("expected one document, found another at line 3, column 1".to_owned())
        );
    }

    #[test]
    fn a_kind_is_looked_at_before_anything_else() {
        let kind = |text: &str| kind_of(text, "a/v1", &["One", "Other"]);
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
        ] {
            assert_eq!(kind(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
