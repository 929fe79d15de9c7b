//! `ENC(...)`: values that Krausening and Jasypt encrypt by `PBEWITHHMACSHA512ANDAES_256`.
//!
//! The text between the brackets is base64 of a salt (16 bytes), an initialisation vector (16
//! bytes) and the AES-256-CBC cipher text with PKCS #7 padding. The key is PBKDF2 with
//! HMAC-SHA-512 over the password and the salt, 1,000 rounds.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use sha2::Sha512;
use zeroize::Zeroizing;

/// One where the program is fuzzed (`--cfg fuzzing`): they would take most of the time, and seeds are
/// encrypted with one.
const ROUNDS: u32 = if cfg!(fuzzing) { 1 } else { 1_000 };
const SALT: usize = 16;
const VECTOR: usize = 16;
const KEY: usize = 32;

/// What stands between `ENC(` and `)`, where a value is encrypted. White space around it, which
/// editors and YAML leave there, is passed over.
pub(super) fn encrypted(value: &str) -> Option<&str> {
    value.trim().strip_prefix("ENC(")?.strip_suffix(')')
}

/// Whether a value was meant to be encrypted: it begins as `ENC(` does, in any case, behind white
/// space or quotes. A secret like that would be one that stands in a file for everybody to read.
pub(super) fn is_meant_encrypted(value: &str) -> bool {
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
    let (word, rest) = value.split_at_checked(3).unwrap_or(("", ""));
    word.eq_ignore_ascii_case("enc") && rest.trim_start().starts_with('(')
}

/// Decrypts what stands between the brackets.
///
/// # Errors
/// Why not, without any part of the value. A wrong password and a damaged value cannot be told
/// apart: the padding is all there is to check.
pub(super) fn decrypt(inner: &str, password: &str) -> Result<Zeroizing<String>, &'static str> {
    let bytes = STANDARD
        .decode(inner.trim())
        .map_err(|_| "what stands between the brackets is not base64")?;
    let (salt, rest) = bytes
        .split_first_chunk::<SALT>()
        .ok_or("what stands between the brackets is too short")?;
    let (vector, cipher_text) = rest
        .split_first_chunk::<VECTOR>()
        .ok_or("what stands between the brackets is too short")?;
    let mut key = Zeroizing::new([0_u8; KEY]);
    pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, ROUNDS, key.as_mut());
    let decryptor = cbc::Decryptor::<Aes256>::new((&*key).into(), vector.into());
    let mut buffer = Zeroizing::new(cipher_text.to_vec());
    let wrong = "the password in KRAUSENING_PASSWORD is wrong, or the value is damaged";
    let plain = decryptor
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .map_err(|_| wrong)?;
    let plain = std::str::from_utf8(plain).map_err(|_| wrong)?;
    Ok(Zeroizing::new(plain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Vec<[String; 3]> {
        let text = include_str!("../../../../testdata/config/krausening-encrypted.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn values_that_the_python_package_encrypted_are_decrypted() {
        let vectors = vectors();
        assert!(vectors.len() >= 7);
        for [password, plain, encrypted] in vectors {
            assert_eq!(*decrypt(&encrypted, &password).unwrap(), plain);
        }
    }

    #[test]
    fn a_wrong_password_or_a_damaged_value_is_an_error_and_never_a_value() {
        for [password, _, encrypted] in vectors() {
            let other = decrypt(&encrypted, &format!("{password}x"));
            assert!(other.is_err(), "a wrong password gave a value");
        }
        for inner in [
            "",
            "no base64!",
            "AAAA",
            "1CbUna4e8SkXEm+fTseEloXmn7qXXToeuxmwXnznxAo=",
        ] {
            assert!(decrypt(inner, "pw").is_err(), "{inner}");
        }
    }

    #[test]
    fn only_a_whole_enc_is_encrypted_and_white_space_around_it_is_passed_over() {
        for value in ["ENC(abc)", "ENC(abc) ", "\tENC(abc)\r\n"] {
            assert_eq!(encrypted(value), Some("abc"), "{value:?}");
        }
        for value in ["enc(abc)", "ENC(abc", "xENC(abc)", "ENC abc"] {
            assert_eq!(encrypted(value), None, "{value:?}");
        }
    }

    #[test]
    fn what_begins_as_an_encrypted_value_does_was_meant_to_be_one() {
        for value in [
            "ENC(abc)",
            "ENC(abc",
            "enc(abc)",
            " Enc(",
            "ENC (abc)",
            "\"ENC(abc)\"",
            "'enc(abc)'",
        ] {
            assert!(is_meant_encrypted(value), "{value:?}");
        }
        for value in [
            "",
            "EN",
            "encoded",
            "xENC(abc)",
            "ENC abc",
            "\u{fc}(x)",
            "en\u{fc}(",
        ] {
            assert!(!is_meant_encrypted(value), "{value:?}");
        }
    }
}
