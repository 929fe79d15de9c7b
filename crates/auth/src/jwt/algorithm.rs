//! The algorithms of RFC 7518 and RFC 8037 that tokens may be signed with.

use std::fmt;

use thiserror::Error;

/// The kind of key that an algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A shared secret: HS*.
    Hmac,
    /// An RSA public key: RS*, PS*.
    Rsa,
    /// A public key on the curve P-256: ES256.
    P256,
    /// A public key on the curve P-384: ES384.
    P384,
    /// An Ed25519 public key: EdDSA.
    Ed25519,
}

macro_rules! algorithms {
    ($($name:ident $wire:literal $family:ident $hash:literal;)*) => {
        /// An algorithm that tokens may be signed with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Algorithm {
            $(#[doc = concat!("`", $wire, "`.")] $name,)*
        }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in a token's header.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// The kind of key it needs.
            #[must_use]
            pub const fn family(self) -> Family {
                match self { $(Self::$name => Family::$family,)* }
            }

            /// The length of its hash, in bytes.
            #[must_use]
            pub const fn hash_bytes(self) -> usize {
                match self { $(Self::$name => $hash,)* }
            }
        }
    };
}

algorithms! {
    Hs256 "HS256" Hmac 32;
    Hs384 "HS384" Hmac 48;
    Hs512 "HS512" Hmac 64;
    Rs256 "RS256" Rsa 32;
    Rs384 "RS384" Rsa 48;
    Rs512 "RS512" Rsa 64;
    Ps256 "PS256" Rsa 32;
    Ps384 "PS384" Rsa 48;
    Ps512 "PS512" Rsa 64;
    Es256 "ES256" P256 32;
    Es384 "ES384" P384 48;
    EdDsa "EdDSA" Ed25519 64;
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What RFC 9864 calls EdDSA over the curve Ed25519, the only one here.
const ED25519: &str = "Ed25519";

/// A name that is no algorithm of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AlgorithmError {
    /// `none`.
    #[error("auth_algorithm = none would accept tokens that nobody signed")]
    None,
    /// `ES512`.
    #[error(
        "ES512 (the curve P-521) is not implemented; ES384 or EdDSA are, and are no weaker in practice"
    )]
    Es512,
    /// Anything else.
    #[error(
        "{0:?} is no signature algorithm; there are HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA (or Ed25519)"
    )]
    Unknown(String),
}

impl Algorithm {
    /// The algorithm of a token's header, or of a key in a set: the exact name.
    pub(crate) fn from_header(name: &str) -> Option<Self> {
        if name == ED25519 {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    /// The algorithm of a configuration, in any case.
    ///
    /// # Errors
    /// When it is not one, or is one that is never accepted.
    pub fn from_config(name: &str) -> Result<Self, AlgorithmError> {
        let name = name.trim();
        if name.eq_ignore_ascii_case("none") {
            return Err(AlgorithmError::None);
        }
        if name.eq_ignore_ascii_case("ES512") {
            return Err(AlgorithmError::Es512);
        }
        if name.eq_ignore_ascii_case(ED25519) {
            return Ok(Self::EdDsa);
        }
        let mut known = Self::ALL.iter().copied();
        known
            .find(|known| known.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| AlgorithmError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_es512_are_refused_at_configuration_with_a_sentence() {
        for (name, part) in [
            ("none", "nobody signed"),
            ("NONE", "nobody signed"),
            ("ES512", "P-521"),
            ("HS1", "HS256"),
        ] {
            let text = Algorithm::from_config(name).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_header_names_an_algorithm_exactly_and_a_configuration_in_any_case() {
        assert_eq!(Algorithm::from_config("rs256"), Ok(Algorithm::Rs256));
        assert_eq!(Algorithm::from_header("rs256"), None);
        assert_eq!(Algorithm::from_header("EdDSA"), Some(Algorithm::EdDsa));
        assert_eq!(Algorithm::from_header("none"), None);
        assert_eq!(Algorithm::from_header("Ed25519"), Some(Algorithm::EdDsa));
        assert_eq!(Algorithm::from_header("ed25519"), None);
        assert_eq!(Algorithm::from_config("ed25519"), Ok(Algorithm::EdDsa));
    }
}
