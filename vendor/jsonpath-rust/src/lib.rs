//! The part of jsonpath-rust that kube-client calls, read by serde_json_path.
//!
//! kube-client asks for jsonpath-rust in one line: where a kubeconfig has the auth-provider `gcp`, the
//! token is found in a command's output by a JSONPath. The original brings a grammar, regular
//! expressions and tables of Unicode with it, a twentieth of the program, and would be a second reader
//! of what the policy's JSONPaths are written in. Both read RFC 9535.

#![forbid(unsafe_code)]

use serde_json::Value;
use serde_json_path::ParseError;

/// A value that can be asked with a JSONPath.
pub trait JsonPath {
    /// All that is found there, in the order of the document.
    ///
    /// # Errors
    ///
    /// The text is no JSONPath.
    fn query(&self, path: &str) -> Result<Vec<&Self>, ParseError>;
}

impl JsonPath for Value {
    fn query(&self, path: &str) -> Result<Vec<&Value>, ParseError> {
        let path = serde_json_path::JsonPath::parse(path)?;
        Ok(path.query(self).all())
    }
}
