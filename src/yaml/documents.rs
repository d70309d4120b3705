//! Texts of several documents.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_saphyr::Error;

use super::erased::{Erased, Reader};

/// Reads all documents of the text; empty ones are none.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, Error> {
    let documents: Vec<Document> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().map(|Document(inner)| inner).collect())
}

/// Something that is read through [`super::erased`].
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        let mut reader = Reader::new(deserializer);
        let result = Value::deserialize(Erased(&mut reader));
        reader.told(result).map(Document)
    }
}
