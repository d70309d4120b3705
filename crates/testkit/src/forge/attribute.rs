//! Attributes of a request. A genuine request has exactly one, the extension request.

use serde::Deserialize;

use super::{
    der::Node,
    extension::Extension,
    octets::Octets,
    oid::{Oid, oid},
    subject::{StringType, string},
};

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The extension request with the recipe's own extensions.
    ExtensionRequest,
    /// An extension request with these values, each a list of extensions. An empty list is an empty SET.
    ExtensionRequestOf(Vec<Vec<Extension>>),
    /// The same with Microsoft's object identifier, which Go ignores and other parsers accept.
    MsExtensionRequestOf(Vec<Vec<Extension>>),
    ChallengePassword(Octets),
    /// Any other attribute.
    Custom(Custom),
}

/// An attribute given by its parts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    #[serde(rename = "type")]
    pub oid: Oid,
    /// The encoded elements of the SET, concatenated.
    #[serde(default)]
    pub values: Octets,
}

impl Attribute {
    /// Encodes the attribute. `own` are the recipe's extensions, and `extension` encodes one.
    pub fn node(&self, own: &[Extension], extension: &dyn Fn(&Extension) -> Node) -> Node {
        let extensions = |list: &[Extension]| {
            Node::sequence(list.iter().map(extension).collect()).named("extensions")
        };
        // Values stay in the given order: a genuine request has only one.
        let request =
            |name: &str, values: Vec<Node>| attribute(&oid(name), Node::constructed(0x31, values));
        match self {
            Self::ExtensionRequest => {
                request("extensionRequest", vec![extensions(own)]).named("extension_request")
            }
            Self::ExtensionRequestOf(values) => {
                let values = values.iter().map(|list| extensions(list)).collect();
                request("extensionRequest", values).named("extension_request_of")
            }
            Self::MsExtensionRequestOf(values) => {
                let values = values.iter().map(|list| extensions(list)).collect();
                request("msExtensionRequest", values).named("ms_extension_request_of")
            }
            Self::ChallengePassword(text) => {
                request("challengePassword", vec![string(StringType::Utf8, &text.0)])
                    .named("challenge_password")
            }
            Self::Custom(custom) => {
                attribute(&custom.oid, Node::primitive(0x31, custom.values.0.clone()))
                    .named("custom_attribute")
            }
        }
    }
}

fn attribute(oid: &Oid, values: Node) -> Node {
    Node::sequence(vec![oid.node(), values.named("values")])
}
