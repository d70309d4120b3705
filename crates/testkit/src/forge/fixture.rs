//! Requests from openssl, for keys and digests that the forge cannot sign with.
//!
//! All are for `node-1` with `DNS:node-1, IP:10.0.0.1`. `fixtures/make.sh` re-creates them.

use serde::Deserialize;

macro_rules! fixtures {
    ($($variant:ident => $file:literal,)*) => {
        /// A prebuilt request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        pub enum Fixture {
            $(#[serde(rename = $file)] $variant,)*
        }

        impl Fixture {
            /// Every fixture.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The PEM text as openssl wrote it.
            pub fn pem(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("fixtures/", $file, ".pem")),)*
                }
            }
        }
    };
}

fixtures! {
    BrainpoolP256 => "brainpool-p256",
    Dsa2048 => "dsa-2048",
    Ed448 => "ed448",
    P224 => "p-224",
    P256Explicit => "p-256-explicit",
    P256Sha1 => "p-256-sha1",
    Rsa1024 => "rsa-1024",
    Rsa1024Sha1 => "rsa-1024-sha1",
    Rsa2048Md5 => "rsa-2048-md5",
    Rsa2048Sha1 => "rsa-2048-sha1",
    Rsa8192 => "rsa-8192",
    RsaPssKey => "rsa-pss-key",
    Secp256k1 => "secp256k1",
}

impl Fixture {
    /// The request's DER.
    pub fn der(self) -> Vec<u8> {
        pem_rfc7468::decode_vec(self.pem().as_bytes())
            .expect("a checked-in request")
            .1
    }
}
