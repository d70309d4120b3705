//! Octets in the YAML of vectors: text, hex, repetition, or a list of those.

use std::{fmt, net::IpAddr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Any octets. In YAML: `node-1` (UTF-8 text), `{hex: "00ff"}`, `{repeat: a, times: 300}`, or a list whose
/// parts are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets(pub Vec<u8>);

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Octets {
    fn from(octets: &T) -> Self {
        Self(octets.as_ref().to_vec())
    }
}

/// An iPAddress. The text of an IP address becomes its 4 or 16 octets; any other text stays as it is.
///
/// Unlike in Go, `::ffff:10.0.0.1` stays 16 octets, which is the hostile form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpOctets(pub Vec<u8>);

impl From<IpAddr> for IpOctets {
    fn from(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        })
    }
}

impl<'de> Deserialize<'de> for IpOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Octets(raw) = Octets::deserialize(deserializer)?;
        let address = std::str::from_utf8(&raw)
            .ok()
            .and_then(|t| t.parse::<IpAddr>().ok());
        Ok(address.map_or(Self(raw), Self::from))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OctetsVisitor).map(Octets)
    }
}

struct OctetsVisitor;

impl<'de> Visitor<'de> for OctetsVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, `{hex: …}`, `{repeat: …, times: …}` or a list of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }

    // An unquoted number in YAML is a number; a vector means its digits.
    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<u8>, E> {
        Ok(number.to_string().into_bytes())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<u8>, E> {
        Ok(number.to_string().into_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Vec<u8>, A::Error> {
        let mut out = Vec::new();
        while let Some(Octets(part)) = parts.next_element()? {
            out.extend(part);
        }
        Ok(out)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
        let (mut hex, mut repeat, mut times) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "hex" => hex = Some(map.next_value::<String>()?),
                "repeat" => repeat = Some(map.next_value::<Octets>()?),
                "times" => times = Some(map.next_value::<usize>()?),
                other => return Err(A::Error::unknown_field(other, &["hex", "repeat", "times"])),
            }
        }
        match (hex, repeat, times) {
            (Some(hex), None, None) => {
                from_hex(&hex).ok_or_else(|| A::Error::custom(format!("`{hex}` is not hex")))
            }
            (None, Some(Octets(part)), Some(times)) => Ok(part.repeat(times)),
            _ => Err(A::Error::custom("either `hex`, or `repeat` with `times`")),
        }
    }
}

/// Parses hex digits; spaces and colons between them are ignored.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|p| p[0] << 4 | p[1]).collect())
}
