//! The administrator's files: YAML, with errors that say where, what was expected, and what was
//! probably meant.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

/// Reads a document of at most `largest` bytes.
pub(crate) fn read<T: DeserializeOwned>(text: &str, largest: usize) -> Result<T, String> {
    if text.len() > largest {
        return Err(format!(
            "expected at most {largest} bytes, found {}",
            text.len()
        ));
    }
    serde_saphyr::from_str(text).map_err(|error| describe(error.without_snippet()))
}

fn describe(error: &Error) -> String {
    let meant = if let Error::SerdeUnknownField {
        field, expected, ..
    } = error
    {
        nearest(field, expected)
    } else if let Error::SerdeUnknownVariant {
        variant, expected, ..
    } = error
    {
        nearest(variant, expected)
    } else {
        None
    };
    match meant {
        Some(meant) => format!("{error}; did you mean `{meant}`?"),
        None => error.to_string(),
    }
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
}
