//! Short reasons for the API server's rejections.

/// Reasons by a part of the message. The first match counts.
const REASONS: [(&str, &str); 19] = [
    ("system:anonymous", "a requestor without a name"),
    ("could not determine node", "a requestor without a name"),
    ("can only create a node CSR", "another CN than the node's"),
    ("PEM block type", "no PEM block of a request"),
    ("asn1: ", "no DER"),
    ("SAN dNSName is malformed", "a malformed SAN"),
    ("cannot parse IP address", "a malformed SAN"),
    ("invalid subject alternative names", "a malformed SAN"),
    ("duplicate requested extensions", "an extension twice"),
    ("verification failure", "a wrong signature"),
    ("cannot verify signature", "an algorithm that it refuses"),
    ("unsupported elliptic curve", "an algorithm that it refuses"),
    ("invalid ECDSA parameters", "an algorithm that it refuses"),
    ("not on curve", "a malformed key"),
    ("invalid uncompressed public key", "a malformed key"),
    ("point encoding", "a malformed key"),
    ("public exponent", "a malformed key"),
    ("spec.signerName", "a signer that there cannot be"),
    ("spec.usages", "usages that there cannot be"),
];

/// Returns the reason of a message, or the message if it is unknown.
pub fn reason(message: &str) -> String {
    let known = REASONS.iter().find(|(part, _)| message.contains(part));
    known.map_or(message, |(_, reason)| reason).to_owned()
}
