//! What an operator should be told of settings that open something on purpose.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::listen::{Listen, Sockets};
use super::settings::Settings;
use super::tls::ClientAuth;
use super::value::Kind;

/// Clock skew that clocks of servers do not have.
const LONG_LEEWAY: Duration = Duration::from_secs(300);

/// What of a server can be reached from beyond this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// One of the doors.
    pub doors: bool,
    /// The address of `/metrics`, where it has one of its own.
    pub metrics: bool,
}

impl Reach {
    /// What follows from the addresses that are listened at.
    pub fn of(
        doors: impl IntoIterator<Item = SocketAddr>,
        metrics: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let far = |address: SocketAddr| !is_here(address.ip());
        Self {
            doors: doors.into_iter().any(far),
            metrics: metrics.into_iter().any(far),
        }
    }

    const fn anything(self) -> bool {
        self.doors || self.metrics
    }
}

fn is_here(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl Settings {
    /// What can be reached if the server listens where these settings say. One that is handed
    /// sockets at its start listens elsewhere.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let Sockets { rest, grpc, .. } = &self.sockets;
        let (first, second) = match self.listen {
            Listen::Two {
                rest: one,
                grpc: other,
            } => (one, Some(other)),
            Listen::One(address) | Listen::RestOnly(address) => (address, None),
        };
        let first = Some(first).filter(|_| rest.is_none());
        let second = second.filter(|_| grpc.is_none());
        Reach::of(first.into_iter().chain(second), self.metrics)
    }

    /// What the operator should be told of a server that is reached like this, one sentence each:
    /// who can do what without being asked, who can read along, and which checks are weak.
    #[must_use]
    pub fn concerns(&self, reach: Reach) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(payloads) = &self.payload_log {
            told.push(format!(
                "EVERY TENSOR THAT IS SENT AND ANSWERED IS KEPT (payload_log): {}",
                super::shown::shown(Kind::Text, &payloads.to)
            ));
            if payloads.plain_http && payloads.to.starts_with("http://") {
                told.push(
                    "KEPT TENSORS ARE SENT UNENCRYPTED (payload_log_plain_http), with the headers \
                     and the token for their address"
                        .to_owned(),
                );
            }
        }
        if reach.anything() && self.tls.is_none() {
            told.push(
                "LISTENING BEYOND THIS MACHINE WITHOUT TLS: tokens and data can be read on the way \
                 (tls_cert, tls_key)"
                    .to_owned(),
            );
        }
        match self.auth_enabled {
            true => self.weak_checks(reach, &mut told),
            false => self.no_checks(reach, &mut told),
        }
        told.extend(self.every_proxy());
        told.extend(self.scarce_memory());
        told
    }

    /// One of few large bodies keeps all others out.
    fn scarce_memory(&self) -> Option<String> {
        const BODIES: usize = 4;
        let (most, one) = (self.body_memory, self.body_limit);
        (most < one.saturating_mul(BODIES)).then(|| {
            format!(
                "body_memory ({most} bytes) has no room for {BODIES} bodies as large as body_limit \
                 ({one} bytes): one or two callers can keep all others out"
            )
        })
    }

    fn no_checks(&self, reach: Reach, told: &mut Vec<String>) {
        let tls = self.tls.as_ref();
        let certificates_needed = tls
            .is_some_and(|tls| tls.client_ca.is_some() && tls.client_auth == ClientAuth::Required);
        let off = match (certificates_needed, reach.doors) {
            (true, _) => {
                "AUTHENTICATION IS OFF: everyone with a certificate of tls_client_ca may run, load \
                 and unload every model (auth_enabled = false)"
            }
            (false, true) => {
                "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE: everyone who \
                 reaches it may run, load and unload every model (auth_enabled = false)"
            }
            (false, false) => {
                "AUTHENTICATION IS OFF: everyone on this machine may run, load and unload every \
                 model (auth_enabled = false)"
            }
        };
        told.push(off.to_owned());
        if reach.metrics && !reach.doors && !certificates_needed {
            told.push(
                "AUTHENTICATION IS OFF AND /metrics IS REACHED FROM BEYOND THIS MACHINE \
                 (metrics_host, auth_enabled = false)"
                    .to_owned(),
            );
        }
    }

    fn weak_checks(&self, reach: Reach, told: &mut Vec<String>) {
        let access = &self.access;
        if access.policy_shadow {
            let refuses_nobody = match reach.anything() {
                true => {
                    "THE POLICY REFUSES NOBODY AND THIS SERVER LISTENS BEYOND THIS MACHINE: \
                     everyone who reaches it may run, load and unload every model (policy_mode = \
                     shadow)"
                }
                false => {
                    "THE POLICY REFUSES NOBODY: everyone on this machine may run, load and unload \
                     every model (policy_mode = shadow)"
                }
            };
            told.push(refuses_nobody.to_owned());
        }
        if !access.auth_require_exp {
            told.push(
                "a token without an expiry holds for ever (auth_require_exp = false)".to_owned(),
            );
        }
        if access.auth_leeway > LONG_LEEWAY {
            told.push(format!(
                "a token holds for {}s after it has expired (auth_leeway); clocks differ by less",
                access.auth_leeway.as_secs()
            ));
        }
    }

    /// What is to be said where the whole world is a proxy.
    pub(crate) fn every_proxy(&self) -> Option<String> {
        let mut proxies = self.trusted_proxies.iter();
        let all = proxies.any(crate::door::Network::is_everything);
        all.then(|| {
            "trusted_proxies holds every address there is: whoever reaches this server says itself \
             where it comes from (X-Forwarded-For, Forwarded)"
                .to_owned()
        })
    }
}
