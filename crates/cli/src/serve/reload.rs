//! Settings that are read again: at SIGHUP, and with `reload = true` whenever a file has changed.
//! What can change without a restart is applied.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use oip::Dataplane;
use oip::config::{Changes, Config, Entry, Watch};
use oip::logging::LogControl;
use oip::server::{Notify, Phase, Reconfigure};
use tokio::signal::unix::Signal;

/// What can be given other settings while it runs.
pub(super) struct Running {
    pub(super) doors: Reconfigure,
    pub(super) log: LogControl,
    pub(super) notify: Notify,
    pub(super) dataplane: Arc<Dataplane>,
}

/// Looks at the properties files until the process ends: at every SIGHUP, and, where it is
/// asked for, `every` so often.
pub(super) async fn watch(
    mut watch: Watch,
    every: Option<Duration>,
    running: Running,
    hangup: io::Result<Signal>,
) {
    // What the process was started with: an option that needs a restart keeps that value.
    let started = watch.config().clone();
    let mut hangup = match hangup {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be listened to");
            return;
        }
    };
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(every.unwrap_or(Duration::MAX)), if every.is_some() => false,
        };
        if asked {
            tracing::info!("SIGHUP: the configuration is read again");
        }
        // While models are loaded the service manager still waits to be told that the server is
        // ready: the end of this must not be taken for that.
        let tells = asked && running.dataplane.phase() != Phase::Starting;
        if tells {
            running.notify.reloading(monotonic());
        }
        // A file system that hangs must not hold up a thread that serves.
        let doors = running.doors.clone();
        let looked = tokio::task::spawn_blocking(move || {
            if asked {
                doors.reopen_files();
            }
            let found = match asked {
                true => watch.look_anyway(),
                false => watch.look(),
            };
            (watch, found)
        });
        let Ok((returned, found)) = looked.await else {
            return;
        };
        watch = returned;
        match found {
            Ok(Some(changes)) => apply(&changes, &started, &running),
            Ok(None) => {}
            Err(error) => tracing::error!("the changed configuration is not applied: {error}"),
        }
        if tells {
            running.notify.ready();
        }
    }
}

/// The clock by which the service manager tells one reload from the next, in microseconds.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let now = now
        .map(|now| Duration::from(now).as_micros())
        .unwrap_or_default();
    u64::try_from(now).unwrap_or(u64::MAX)
}

/// Applies what can be applied, and says what became of each option.
fn apply(changes: &Changes, started: &Config, running: &Running) {
    for warning in changes.config.warnings() {
        tracing::warn!("{warning}");
    }
    let settings = &changes.settings;
    let logs = ["log_level", "latency_log"];
    let mut changed = changes.changed.iter();
    // Else what a caller has changed stays.
    if changed.any(|entry| logs.contains(&entry.option.key)) {
        running.log.set(settings.log_level, settings.latency_log);
    }
    running.doors.apply(settings);
    for entry in &changes.changed {
        let (key, value, origin) = (entry.option.key, entry.shown(), entry.origin.to_string());
        match entry.option.hot {
            true => tracing::info!(key, value, origin, "configuration changed"),
            false if is_as_started(entry, started) => {
                tracing::info!(
                    key,
                    value,
                    origin,
                    "again what this server was started with"
                );
            }
            false => tracing::warn!(key, value, origin, "a changed option needs a restart"),
        }
    }
}

fn is_as_started(entry: &Entry, started: &Config) -> bool {
    let mut entries = started.entries().iter();
    let known = entries.find(|known| known.option.key == entry.option.key);
    known.is_some_and(|known| known.value == entry.value)
}
