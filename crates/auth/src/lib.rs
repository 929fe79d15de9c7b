//! Who is asking and what they may do: the folder an auditor reads.
//!
//! [`Authentication`] is who: bearer tokens, API keys, client certificates. [`pdp`] is what they may
//! do, and [`audit`] writes it down.
#![forbid(unsafe_code)]

mod apikey;
pub mod audit;
mod authentication;
mod bearer;
mod build;
pub mod certificate;
mod clock;
mod config;
pub mod http;
mod jwt;
mod moment;
pub mod pdp;
mod rejection;
mod secret;
#[cfg(test)]
mod testing;
mod watched;

pub use apikey::{ApiKeyError, NewApiKey, generate as new_api_key};
pub use authentication::Authentication;
pub use clock::Clock;
pub use config::{AuthConfigError, AuthenticationConfig};
pub use jwt::{Algorithm, AlgorithmError, Family, PemError, RemoteOptions, claimed_roles};
pub use rejection::DOES_NOT_HOLD;
pub use secret::Secret;
