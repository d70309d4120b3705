//! Texts of several documents.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Error;

use super::erased::{Erased, Reader};

/// Reads all documents of the text; empty ones are none.
pub fn documents<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    let documents: Vec<Document<T>> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().map(|Document(inner)| inner).collect())
}

/// Something that is read through [`super::erased`].
struct Document<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<T>, D::Error> {
        let mut reader = Reader::new(deserializer);
        let result = T::deserialize(Erased(&mut reader));
        reader.told(result).map(Document)
    }
}
