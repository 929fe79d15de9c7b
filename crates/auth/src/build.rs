//! From a configuration to what it means, or to a sentence about what is wrong with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apikey::ApiKeys;
use crate::authentication::Authentication;
use crate::clock::Clock;
use crate::config::{AuthConfigError, AuthenticationConfig};
use crate::http::{HttpClient, HttpOptions, bearer};
use crate::jwt::{
    Algorithm, ClaimPath, ClaimRules, Family, KeySet, KeySource, Remote, Target, TokenCache,
    TokenVerifier, VerifyingKey, looks_like_pem, looks_public, public_key,
};
use crate::secret::Secret;
use crate::watched::{self, Watched};

type Warnings = Vec<String>;

/// What the configuration names as the key of bearer tokens.
enum Named<'a> {
    Secret(&'a Secret),
    SecretFile(&'a Path),
    KeyFile(&'a Path),
    JwksFile(&'a Path),
    JwksUrl(&'a str),
    Discovery(&'a str),
}

impl Named<'_> {
    fn option(&self) -> &'static str {
        match self {
            Self::Secret(_) => "auth_secret",
            Self::SecretFile(_) => "auth_secret_file",
            Self::KeyFile(_) => "auth_key_file",
            Self::JwksFile(_) => "auth_jwks_file",
            Self::JwksUrl(_) => "auth_jwks_url",
            Self::Discovery(_) => "auth_issuer",
        }
    }
}

pub(crate) fn authentication(
    config: &AuthenticationConfig,
    clock: Clock,
) -> Result<(Authentication, Warnings), AuthConfigError> {
    let mut warnings = Vec::new();
    // First, so that a wrong algorithm is told even where there is no key.
    let algorithms = algorithms(&config.algorithms)?;
    let named = named(config)?;
    if named.is_none() && config.api_keys_file.is_none() && !config.client_certificates {
        return Err(AuthConfigError::NoKey);
    }
    let tokens = match named {
        None => None,
        Some(named) => Some(TokenVerifier {
            keys: keys(config, &named, &algorithms, &mut warnings)?,
            rules: rules(config)?,
            cache: TokenCache::new(config.token_cache),
            algorithms,
            clock,
        }),
    };
    let authentication = Authentication {
        tokens,
        api_keys: api_keys(config.api_keys_file.as_deref(), &mut warnings)?,
        max_token_bytes: config.max_token_bytes,
    };
    Ok((authentication, warnings))
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, AuthConfigError> {
    let mut algorithms = Vec::new();
    for name in names.iter().filter(|name| !name.trim().is_empty()) {
        algorithms.push(Algorithm::from_config(name)?);
    }
    if algorithms.is_empty() {
        algorithms.push(Algorithm::Hs256);
    }
    Ok(algorithms)
}

fn named(config: &AuthenticationConfig) -> Result<Option<Named<'_>>, AuthConfigError> {
    let secret = config.secret.as_ref();
    let secret = secret.filter(|secret| !secret.expose().trim_ascii().is_empty());
    let given = [
        secret.map(Named::Secret),
        config.secret_file.as_deref().map(Named::SecretFile),
        config.key_file.as_deref().map(Named::KeyFile),
        config.jwks_file.as_deref().map(Named::JwksFile),
        text(config.jwks_url.as_deref()).map(Named::JwksUrl),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(one), Some(other)) => Err(AuthConfigError::SeveralKeys(one.option(), other.option())),
        (Some(one), None) => Ok(Some(one)),
        (None, _) => Ok(text(config.issuer.as_deref()).map(Named::Discovery)),
    }
}

/// An option that is empty is not set.
fn text(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.trim().is_empty())
}

fn rules(config: &AuthenticationConfig) -> Result<ClaimRules, AuthConfigError> {
    for (option, path) in [
        ("auth_subject_claim", &config.subject_claim),
        ("auth_roles_claim", &config.roles_claim),
    ] {
        if path.trim().is_empty() {
            return Err(AuthConfigError::EmptyClaim(option));
        }
    }
    Ok(ClaimRules {
        issuer: text(config.issuer.as_deref()).map(str::to_owned),
        audience: config.audience.clone(),
        subject: ClaimPath::new(&config.subject_claim),
        roles: ClaimPath::new(&config.roles_claim),
        require_exp: config.require_exp,
        leeway: config.leeway.as_secs(),
    })
}

fn keys(
    config: &AuthenticationConfig,
    named: &Named<'_>,
    algorithms: &[Algorithm],
    warnings: &mut Warnings,
) -> Result<KeySource, AuthConfigError> {
    let option = named.option();
    let first = agreed(named, algorithms)?;
    Ok(match named {
        Named::Secret(secret) => {
            let key = key(option, &unescaped(secret.expose()), algorithms, warnings)?;
            KeySource::Fixed(Arc::new(KeySet::single(key)))
        }
        Named::SecretFile(path) | Named::KeyFile(path) => {
            key_in_file(option, path, algorithms, warnings)?
        }
        Named::JwksFile(path) => {
            public_only(option, first)?;
            let algorithms = algorithms.to_vec();
            let parse = move |text: &[u8]| KeySet::from_json(text, &algorithms);
            KeySource::File(Arc::new(open(option, path, parse)?))
        }
        Named::JwksUrl(_) | Named::Discovery(_) => {
            public_only(option, first)?;
            KeySource::Remote(Arc::new(remote(config, named, algorithms)?))
        }
    })
}

/// The first algorithm; all must need one kind of key where there is one key, and HS* never
/// stands beside another.
fn agreed(named: &Named<'_>, algorithms: &[Algorithm]) -> Result<Algorithm, AuthConfigError> {
    let first = algorithms.first().copied().unwrap_or(Algorithm::Hs256);
    let one_key = matches!(
        named,
        Named::Secret(_) | Named::SecretFile(_) | Named::KeyFile(_)
    );
    let other = algorithms.iter().copied().find(|other| {
        let differs = other.family() != first.family();
        let shared = other.family() == Family::Hmac || first.family() == Family::Hmac;
        differs && (one_key || shared)
    });
    match other {
        Some(other) => Err(AuthConfigError::MixedFamilies(first, other, named.option())),
        None => Ok(first),
    }
}

/// A key set holds public keys; a shared secret in one would be no secret.
fn public_only(key: &'static str, algorithm: Algorithm) -> Result<(), AuthConfigError> {
    match algorithm.family() {
        Family::Hmac => Err(AuthConfigError::PublicKeyForSecret { key, algorithm }),
        _ => Ok(()),
    }
}

/// The key of a text, if it fits the algorithms.
fn key(
    option: &'static str,
    text: &[u8],
    algorithms: &[Algorithm],
    warnings: &mut Warnings,
) -> Result<VerifyingKey, AuthConfigError> {
    let algorithm = algorithms.first().copied().unwrap_or(Algorithm::Hs256);
    if algorithm.family() == Family::Hmac {
        if option == "auth_key_file" || looks_public(text) {
            return Err(AuthConfigError::PublicKeyForSecret {
                key: option,
                algorithm,
            });
        }
        warn_of_an_encrypted_secret(option, text, warnings);
        warn_of_white_space(option, text, warnings);
        warn_of_a_short_secret(option, text, algorithms, warnings);
        return Ok(VerifyingKey::hmac(text));
    }
    let key = public_key(text).map_err(|fault| AuthConfigError::Pem {
        key: option,
        algorithm,
        fault,
    })?;
    if key.family() == algorithm.family() {
        return Ok(key);
    }
    Err(AuthConfigError::OtherKind {
        key: option,
        algorithm,
        found: match key.family() {
            Family::Hmac => "a shared secret",
            Family::Rsa => "RSA",
            Family::P256 => "P-256",
            Family::P384 => "P-384",
            Family::Ed25519 => "Ed25519",
        },
    })
}

/// Files are taken literally: what was meant to be decrypted is the secret itself, and stands
/// wherever the file was copied from.
fn warn_of_an_encrypted_secret(option: &str, text: &[u8], warnings: &mut Warnings) {
    let start = text.trim_ascii().get(..4).unwrap_or_default();
    if start.eq_ignore_ascii_case(b"enc(") {
        warnings.push(format!(
            "{option} begins with ENC(, and nothing is decrypted here: that very text is the \
             secret (only oip.properties holds encrypted values)"
        ));
    }
}

/// What an editor, a shell or a copy has left around a secret is a part of it, and the issuer's
/// lacks it.
fn warn_of_white_space(option: &str, text: &[u8], warnings: &mut Warnings) {
    // Random bytes are no text, but by accident.
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let what = match text.starts_with('\u{feff}') {
        true => "begins with a byte order mark",
        false if text.trim() != text => "begins or ends with white space",
        false => return,
    };
    warnings.push(format!(
        "{option} {what}, which is taken for a part of the secret: tokens whose issuer has the \
         secret without it are refused"
    ));
}

fn warn_of_a_short_secret(
    option: &str,
    text: &[u8],
    algorithms: &[Algorithm],
    warnings: &mut Warnings,
) {
    let longest = algorithms.iter().max_by_key(|known| known.hash_bytes());
    if let Some(algorithm) = longest
        && text.len() < algorithm.hash_bytes()
    {
        warnings.push(format!(
            "{option} is {} bytes long; {algorithm} needs {} or more, or tokens can be forged by \
             guessing the secret (openssl rand -base64 {} makes one)",
            text.len(),
            algorithm.hash_bytes(),
            algorithm.hash_bytes(),
        ));
    }
}

/// A key that lies in a file and is read again when the file changes.
fn key_in_file(
    option: &'static str,
    path: &Path,
    algorithms: &[Algorithm],
    warnings: &mut Warnings,
) -> Result<KeySource, AuthConfigError> {
    let wrong = |fault| file(option, path, fault);
    let content = watched::read(path).map_err(wrong)?;
    if without_line_break(&content).trim_ascii().is_empty() {
        return Err(wrong("is blank".to_owned()));
    }
    // Once for the sentence and the warnings, once for the value.
    key(option, without_line_break(&content), algorithms, warnings)?;
    let algorithms = algorithms.to_vec();
    let started = AtomicBool::new(false);
    let parse = move |text: &[u8]| {
        let text = without_line_break(text);
        if text.trim_ascii().is_empty() {
            return Err("is blank".to_owned());
        }
        let mut warnings = Vec::new();
        let key = key(option, text, &algorithms, &mut warnings);
        // The first time they were told above.
        if started.swap(true, Ordering::Relaxed) {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
        }
        key.map(KeySet::single).map_err(|error| error.to_string())
    };
    Ok(KeySource::File(Arc::new(open(option, path, parse)?)))
}

fn remote(
    config: &AuthenticationConfig,
    named: &Named<'_>,
    algorithms: &[Algorithm],
) -> Result<Remote, AuthConfigError> {
    let key = named.option();
    let wrong = |fault| AuthConfigError::Url { key, fault };
    let client = HttpClient::new(HttpOptions {
        timeout: config.jwks_timeout,
        ca_file: config.jwks_ca_file.clone(),
        ..HttpOptions::default()
    })
    .map_err(wrong)?;
    if let Some(token) = &config.jwks.token_file {
        let key = "auth_jwks_token_file";
        bearer(token).map_err(|fault| AuthConfigError::Url { key, fault })?;
    }
    let target = match named {
        Named::Discovery(issuer) => {
            let issuer_path = issuer.trim_end_matches('/');
            let url = format!("{issuer_path}/.well-known/openid-configuration");
            Target::Discovery {
                issuer: (*issuer).to_owned(),
                configuration: client.check(&url).map_err(wrong)?,
            }
        }
        Named::JwksUrl(url) => Target::KeySet(client.check(url).map_err(wrong)?),
        _ => return Err(AuthConfigError::NoKey),
    };
    Ok(Remote::new(
        client,
        target,
        algorithms.to_vec(),
        config.jwks.clone(),
    ))
}

fn api_keys(
    path: Option<&Path>,
    warnings: &mut Warnings,
) -> Result<Option<Arc<Watched<ApiKeys>>>, AuthConfigError> {
    let Some(path) = path else { return Ok(None) };
    let keys = open("auth_api_keys_file", path, ApiKeys::parse)?;
    if keys.loaded().len() == 0 {
        warnings.push(format!(
            "auth_api_keys_file: {} holds no key yet (oip apikey new makes one)",
            path.display()
        ));
    }
    Ok(Some(Arc::new(keys)))
}

fn open<T: Send + Sync + 'static>(
    option: &'static str,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
) -> Result<Watched<T>, AuthConfigError> {
    Watched::open(path, parse).map_err(|fault| file(option, path, fault))
}

fn file(key: &'static str, path: &Path, fault: String) -> AuthConfigError {
    let path: PathBuf = path.to_owned();
    AuthConfigError::File { key, path, fault }
}

/// A PEM text that came through an environment variable often has `\n` for its line breaks.
fn unescaped(text: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(text) {
        Ok(pem) if looks_like_pem(text) => pem.replace("\\n", "\n").into_bytes(),
        _ => text.to_vec(),
    }
}

/// Files are taken literally but for one line break at the end, which editors put there.
fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests;
