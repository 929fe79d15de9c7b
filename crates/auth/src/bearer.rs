//! The `Authorization` header, strictly: one header, one well-formed Bearer token.

use crate::rejection::Rejection;

/// The token of the one `Authorization` header.
///
/// The word `Bearer` in any case, one or more spaces, and what may be a token, which is
/// [looked at](check) by whoever has not seen it before. Everything else is refused: another
/// scheme, no token, several headers.
pub(crate) fn token(headers: &[String], longest: usize) -> Result<&str, Rejection> {
    let [header] = headers else {
        return Err(Rejection::Header("there are several Authorization headers"));
    };
    let (scheme, rest) = header
        .split_once(' ')
        .ok_or(Rejection::Header("the Authorization header is one word"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Rejection::Header("the scheme is not Bearer"));
    }
    let token = rest.trim_start_matches(' ');
    if token.len() > longest {
        return Err(Rejection::TooLong(longest));
    }
    Ok(token)
}

/// Whether a token is made of the characters that RFC 6750 allows, and so is one part.
pub(crate) fn check(token: &str) -> Result<(), Rejection> {
    let body = token.trim_end_matches('=');
    // Without leaving early, which the compiler turns into a look at many bytes at once.
    let legal = body
        .bytes()
        .fold(true, |all, byte| all & is_token_byte(byte));
    if body.is_empty() || !legal {
        return Err(Rejection::Header("what follows Bearer is not one token"));
    }
    Ok(())
}

/// RFC 6750, section 2.1: the characters of `b64token`.
fn is_token_byte(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    let mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
    letter | digit | mark | (byte == b'+') | (byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Result<String, Rejection> {
        let headers: Vec<String> = headers.iter().map(|&h| h.to_owned()).collect();
        let token = token(&headers, 20)?;
        check(token).map(|()| token.to_owned())
    }

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_the_word() {
        for header in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(read(&[header]).unwrap(), "a.b.c", "{header}");
        }
        assert_eq!(read(&["Bearer ab=="]).unwrap(), "ab==");
    }

    #[test]
    fn another_scheme_is_refused() {
        for header in ["Basic dXNlcjpwYXNz", "Bearer2 a", "Token a", "Digest a"] {
            assert!(read(&[header]).is_err(), "{header}");
        }
    }

    #[test]
    fn bearer_alone_is_refused() {
        for header in ["Bearer", "Bearer ", "Bearer    ", "", " ", "Bearer ="] {
            assert!(read(&[header]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn several_parts_are_refused() {
        for header in [
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a,b",
            "Bearer a ",
            " Bearer a",
            "Bearer\ta",
        ] {
            assert!(read(&[header]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn several_headers_are_refused() {
        assert!(read(&["Bearer a", "Bearer a"]).is_err());
    }

    #[test]
    fn characters_outside_ascii_are_refused() {
        for header in [
            "Bearer \u{e9}",
            "Bearer a\u{fffd}",
            "B\u{e9}arer a",
            "Bearer a\0",
            "Bearer \u{a0}a",
        ] {
            assert!(read(&[header]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn every_byte_is_legal_that_the_rfc_names_and_no_other() {
        for byte in 0..=255_u8 {
            let named = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token_byte(byte), named, "{byte:#x}");
        }
    }

    #[test]
    fn a_token_over_the_limit_is_refused() {
        assert!(read(&[&format!("Bearer {}", "a".repeat(20))]).is_ok());
        let error = read(&[&format!("Bearer {}", "a".repeat(21))]).unwrap_err();
        assert_eq!(error, Rejection::TooLong(20));
    }
}
