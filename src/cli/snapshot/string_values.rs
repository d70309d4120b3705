//! Typed values that a file stores as strings, with errors that name the expected format.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use judge::csr::Fingerprint;
use judge::csr::names::{NodeName, San};
use judge::evidence::{IdentityKind, Source};

/// Typed value that the file stores as a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<T>(pub(super) T);

/// Type whose values can be written as text.
pub(super) trait AsText: Sized {
    /// Description of the text format, for error messages.
    fn expected() -> String;
    /// Parses the text; `None` if it is invalid.
    fn read(text: &str) -> Option<Self>;
    /// Writes the value as text.
    fn written(&self) -> String;
}

impl<'de, T: AsText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("expected {}, found `{text}`", T::expected()));
        T::read(&text).map(Text).ok_or_else(wrong)
    }
}

impl<T: AsText> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.written())
    }
}

impl<T> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl AsText for Timestamp {
    fn expected() -> String {
        "a time such as `2026-07-24T12:00:00Z`".to_owned()
    }

    fn read(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for Source {
    fn expected() -> String {
        let names = Source::ALL.map(Source::as_str);
        format!("a source ({})", names.join(", "))
    }

    fn read(text: &str) -> Option<Source> {
        let mut all = Source::ALL.into_iter();
        all.find(|source| source.as_str() == text)
    }

    fn written(&self) -> String {
        self.as_str().to_owned()
    }
}

impl AsText for NodeName {
    fn expected() -> String {
        "a Node's name".to_owned()
    }

    fn read(text: &str) -> Option<NodeName> {
        NodeName::parse(text)
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for San {
    fn expected() -> String {
        "`DNS:name` or `IP:address`".to_owned()
    }

    fn read(text: &str) -> Option<San> {
        let dns = text.strip_prefix("DNS:").and_then(San::from_dns_text);
        dns.or_else(|| text.strip_prefix("IP:").and_then(San::from_ip_text))
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for Fingerprint {
    fn expected() -> String {
        "64 hexadecimal digits".to_owned()
    }

    fn read(text: &str) -> Option<Fingerprint> {
        Fingerprint::parse(text)
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for IpNet {
    fn expected() -> String {
        "a network such as `10.96.0.0/12`".to_owned()
    }

    fn read(text: &str) -> Option<IpNet> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for IpAddr {
    fn expected() -> String {
        "an IP address".to_owned()
    }

    fn read(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn written(&self) -> String {
        self.to_string()
    }
}

impl AsText for IdentityKind {
    fn expected() -> String {
        let names = KINDS.map(|(_, name)| name);
        format!("one of {}", names.join(", "))
    }

    fn read(text: &str) -> Option<IdentityKind> {
        let mut all = KINDS.into_iter();
        all.find_map(|(kind, name)| (name == text).then_some(kind))
    }

    fn written(&self) -> String {
        match self {
            IdentityKind::Service => "Service",
            IdentityKind::ApiServerEndpoint => "ApiServerEndpoint",
            IdentityKind::ApiServerIdentity => "ApiServerIdentity",
        }
        .to_owned()
    }
}

/// Kinds of protected identities, with their names in the file.
const KINDS: [(IdentityKind, &str); 3] = [
    (IdentityKind::Service, "Service"),
    (IdentityKind::ApiServerEndpoint, "ApiServerEndpoint"),
    (IdentityKind::ApiServerIdentity, "ApiServerIdentity"),
];
