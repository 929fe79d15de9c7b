//! `reload = true`: applies what can change without a restart.

use std::time::Duration;

use oip::config::{Changes, Config, Entry, Watch};
use oip::logging::LogControl;
use oip::server::Reconfigure;

/// What can be given other settings while it runs.
pub(super) struct Running {
    pub(super) doors: Reconfigure,
    pub(super) log: LogControl,
}

/// Looks at the properties files until the process ends.
pub(super) async fn watch(mut watch: Watch, every: Duration, running: Running) {
    // What the process was started with: an option that needs a restart keeps that value.
    let started = watch.config().clone();
    // A file system that hangs must not hold up a thread that serves.
    while let Ok((returned, found)) = tokio::task::spawn_blocking(move || {
        let found = watch.look();
        (watch, found)
    })
    .await
    {
        watch = returned;
        match found {
            Ok(Some(changes)) => apply(&changes, &started, &running),
            Ok(None) => {}
            Err(error) => tracing::error!("the changed configuration is not applied: {error}"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Applies what can be applied, and says what became of each option.
fn apply(changes: &Changes, started: &Config, running: &Running) {
    for warning in changes.config.warnings() {
        tracing::warn!("{warning}");
    }
    let settings = &changes.settings;
    running.log.set(settings.log_level, settings.latency_log);
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
