//! The PEM encoding of a request, and its faults.

use serde::Deserialize;

use super::Recipe;

/// A fault of the base64 padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The `=` are left out.
    Strip,
    /// There is one `=` too many.
    Extra,
    /// The unused bits before the `=` are not zero: other text, same octets.
    DirtyBits,
}

/// The PEM part of a recipe; by default as Go's encoding/pem writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PemRecipe {
    pub label: String,
    /// The label of the END line; by default that of the BEGIN line.
    pub end_label: Option<String>,
    /// Text before the BEGIN line.
    pub before: String,
    /// Text after the END line.
    pub after: String,
    /// RFC 1421 headers, each a whole line.
    pub headers: Vec<String>,
    /// Characters in a line of base64; 0 is a single line.
    pub width: usize,
    pub newline: String,
    /// True for a newline after the END line.
    pub final_newline: bool,
    pub padding: Option<Padding>,
    /// Text to insert into the base64, before it is broken into lines.
    pub insert: Option<Insert>,
    /// The number of copies of the block.
    pub copies: usize,
    /// Requests whose text comes before this one's.
    pub first: Vec<Recipe>,
    /// Requests whose text comes after this one's.
    pub then: Vec<Recipe>,
    /// The whole text, instead of all other fields.
    pub raw: Option<String>,
}

/// Text to insert into the base64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Insert {
    pub at: usize,
    pub text: String,
}

impl Default for PemRecipe {
    fn default() -> Self {
        Self {
            label: "CERTIFICATE REQUEST".to_owned(),
            end_label: None,
            before: String::new(),
            after: String::new(),
            headers: Vec::new(),
            width: 64,
            newline: "\n".to_owned(),
            final_newline: true,
            padding: None,
            insert: None,
            copies: 1,
            first: Vec::new(),
            then: Vec::new(),
            raw: None,
        }
    }
}

impl PemRecipe {
    /// Encodes `der`.
    pub fn text(&self, der: &[u8]) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut out = self.before.clone();
        out.extend(self.first.iter().map(Recipe::pem));
        let block = self.block(der);
        out.extend(std::iter::repeat_n(block.as_str(), self.copies));
        out.extend(self.then.iter().map(Recipe::pem));
        out.push_str(&self.after);
        out
    }

    fn block(&self, der: &[u8]) -> String {
        let newline = &self.newline;
        let mut out = format!("-----BEGIN {}-----{newline}", self.label);
        for header in &self.headers {
            out.push_str(&format!("{header}{newline}"));
        }
        if !self.headers.is_empty() {
            out.push_str(newline);
        }
        let body: Vec<char> = self.body(der).chars().collect();
        let width = if self.width == 0 {
            body.len().max(1)
        } else {
            self.width
        };
        for line in body.chunks(width) {
            out.extend(line);
            out.push_str(newline);
        }
        out.push_str(&format!(
            "-----END {}-----",
            self.end_label.as_ref().unwrap_or(&self.label)
        ));
        if self.final_newline {
            out.push_str(newline);
        }
        out
    }

    fn body(&self, der: &[u8]) -> String {
        let mut body = base64(der);
        let padded = body.ends_with('=');
        // Without padding two of these would change nothing, and the request would stay genuine.
        let need = |what: &str| {
            assert!(
                padded,
                "no padding to {what}: change the node's name by a letter"
            )
        };
        match self.padding {
            None => {}
            Some(Padding::Strip) => {
                need("strip");
                body.truncate(body.trim_end_matches('=').len());
            }
            Some(Padding::Extra) => body.push('='),
            Some(Padding::DirtyBits) => {
                need("dirty");
                let end = body.trim_end_matches('=').len();
                // With padding the last character's lowest bit is unused, hence zero.
                let last = body.as_bytes()[end - 1];
                let index = ALPHABET
                    .iter()
                    .position(|c| *c == last)
                    .expect("a base64 character");
                body.replace_range(
                    end - 1..end,
                    char::from(ALPHABET[index | 1]).encode_utf8(&mut [0; 4]),
                );
            }
        }
        if let Some(insert) = &self.insert {
            body.insert_str(insert.at, &insert.text);
        }
        body
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes standard base64 with padding.
pub fn base64(octets: &[u8]) -> String {
    let mut out = String::new();
    for chunk in octets.chunks(3) {
        let octet = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for index in 0..4 {
            if index <= chunk.len() {
                out.push(char::from(
                    ALPHABET[(bits >> (18 - 6 * index) & 0x3f) as usize],
                ));
            } else {
                out.push('=');
            }
        }
    }
    out
}
