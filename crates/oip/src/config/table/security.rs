//! The options of security: who may come in, what they may do, what is written down of it.

use super::super::options::ConfigOption;
use super::super::options::Group::Security;
use super::super::value::Kind::{self, Bool, Choice, Duration, HttpUrl, List, Path, Size, Text};
use super::ANY;

const fn new(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> ConfigOption {
    ConfigOption::new(Security, key, kind, default, help)
}

pub(super) const SECURITY: &[ConfigOption] = &[
    new(
        "auth_enabled",
        Bool,
        "true",
        "Whether callers are authenticated and authorized. Without a key the server \
         refuses to start.",
    )
    .also(&["AUTH_ENABLED"], &[], &[]),
    new(
        "auth_secret",
        Text,
        "",
        "The shared secret (HS*) or PEM public key (RS*, PS*, ES*, EdDSA) of bearer \
         tokens. Rather in the environment or a file than on the command line, which \
         other users can read.",
    )
    .also(&["AUTH_SECRET"], &[], &[])
    .secret(),
    new(
        "auth_secret_file",
        Path,
        "",
        "File that holds the secret, taken literally but for one line break at its end.",
    ),
    new(
        "auth_key_file",
        Path,
        "",
        "File of the public key or certificate that tokens are checked with, in PEM.",
    ),
    new(
        "auth_jwks_file",
        Path,
        "",
        "File of the JSON Web Key Set that tokens are checked with.",
    ),
    new(
        "auth_jwks_url",
        HttpUrl,
        "",
        "Address of the JSON Web Key Set that tokens are checked with; https, or http on \
         this machine.",
    ),
    new(
        "auth_algorithm",
        Text,
        "HS256",
        "The only algorithms whose tokens are accepted, separated by commas.",
    )
    .also(&["AUTH_ALGORITHM"], &[], &[]),
    new(
        "auth_issuer",
        Text,
        "",
        "The `iss` that tokens must have. Without any key its key set is found by OpenID \
         Connect Discovery.",
    ),
    new(
        "auth_audience",
        List,
        "",
        "The `aud` of which tokens must have one. Without it a token that has an `aud` is \
         refused.",
    ),
    new(
        "auth_subject_claim",
        Text,
        "sub",
        "The claim that names the caller; a path such as realm_access.name reaches into \
         others.",
    ),
    new(
        "auth_roles_claim",
        Text,
        "roles",
        "The claim that lists the caller's roles; a path, too.",
    ),
    new(
        "auth_require_exp",
        Bool,
        "true",
        "Whether a token without `exp` is refused.",
    ),
    new(
        "auth_leeway",
        Duration,
        "30s",
        "Clock skew that is forgiven where a token begins and expires.",
    ),
    new(
        "auth_max_token_bytes",
        Size { least: 1 },
        "16KiB",
        "The longest token.",
    ),
    new(
        "auth_token_cache",
        ANY,
        "10000",
        "How many checked tokens are remembered until they expire; 0 for none.",
    ),
    new(
        "auth_jwks_refresh",
        Duration,
        "5m",
        "Age from which on a key set is fetched again, once in 10s at most.",
    ),
    new(
        "auth_jwks_stale",
        Duration,
        "1h",
        "How long a key set stays in force after it was last confirmed; 10s or more, and \
         auth_jwks_refresh or more.",
    ),
    new(
        "auth_jwks_timeout",
        Duration,
        "5s",
        "Longest that fetching a key set may take.",
    ),
    new(
        "auth_jwks_ca_file",
        Path,
        "",
        "File of the authorities to trust when a key set is fetched, in place of the \
         system's, in PEM.",
    ),
    new(
        "auth_jwks_token_file",
        Path,
        "",
        "File of a bearer token to show when a key set is fetched, read each time.",
    ),
    new(
        "auth_api_keys_file",
        Path,
        "",
        "File of hashed API keys; oip apikey new makes its lines.",
    ),
    new(
        "probe_access",
        Choice(&["open", "policy"]),
        "open",
        "Whether live, ready and grpc.health.v1 are open or decided by the policy.",
    ),
    new(
        "pdp",
        Choice(&["embedded", "xacml", "authzen", "opa"]),
        "",
        "Who decides what a caller may do; xacml where only pdp_url is given, else \
         embedded.",
    ),
    new(
        "pdp_url",
        HttpUrl,
        "",
        "Address of a remote policy decision point; https, or http on this machine.",
    ),
    new(
        "pdp_timeout",
        Duration,
        "5s",
        "Longest that a decision may take.",
    ),
    new(
        "pdp_cache_ttl",
        Duration,
        "0s",
        "How long a decision of a remote decision point is remembered; 0s for not at all.",
    ),
    new(
        "pdp_ca_file",
        Path,
        "",
        "File of the authorities to trust when a remote policy decision point is asked, in place \
         of the system's, in PEM.",
    ),
    new(
        "pdp_token_file",
        Path,
        "",
        "File of a bearer token to show to a remote policy decision point, read each time.",
    ),
    new(
        "policy_file",
        Path,
        "",
        "File of Cedar policies in place of the built-in policy, read again when it \
         changes.",
    ),
    new(
        "policy_mode",
        Choice(&["enforce", "shadow"]),
        "enforce",
        "Whether a refusal refuses, or is only logged.",
    ),
    new(
        "audit_file",
        Path,
        "",
        "File to which a line is added for every decision; without one they go to the \
         log.",
    ),
    new(
        "audit_key_file",
        Path,
        "",
        "File of the key that chains audit lines, 32 bytes or more.",
    ),
    new(
        "audit_failure",
        Choice(&["refuse", "continue"]),
        "refuse",
        "What happens to a call whose line cannot be written to audit_file. Without that file the \
         log refuses nobody, and refuse, where it is given, refuses to start.",
    ),
    new(
        "trusted_proxies",
        List,
        "",
        "Addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For and \
         Forwarded headers are believed.",
    )
    .hot(),
    new(
        "tls_cert",
        Path,
        "",
        "File of the certificate chain, in PEM, the server's own first. With tls_key both doors \
         speak TLS, and nothing else. Read again when it changes.",
    )
    .also(&["KSERVE_TLS_CERT_FILE"], &[], &["ssl_certfile"]),
    new(
        "tls_key",
        Path,
        "",
        "File of the certificate's private key, in PEM, not encrypted.",
    )
    .also(&["KSERVE_TLS_KEY_FILE"], &[], &["ssl_keyfile"]),
    new(
        "tls_client_ca",
        Path,
        "",
        "File of the authorities whose client certificates are accepted, in PEM. The name in the \
         certificate is the caller.",
    ),
    new(
        "tls_client_auth",
        Choice(&["required", "optional"]),
        "required",
        "Whether a connection without a client certificate is refused, where tls_client_ca is \
         set.",
    ),
];
