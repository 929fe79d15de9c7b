//! `reload = true`: applies what can change without a restart.

use std::time::Duration;

use oip::config::{Changes, Watch};
use oip::logging::LogControl;

/// Looks at the properties files until the process ends.
pub(super) async fn watch(mut watch: Watch, every: Duration, log: LogControl) {
    // A file system that hangs must not hold up a thread that serves.
    while let Ok((returned, found)) = tokio::task::spawn_blocking(move || {
        let found = watch.look();
        (watch, found)
    })
    .await
    {
        watch = returned;
        match found {
            Ok(Some(changes)) => apply(&changes, &log),
            Ok(None) => {}
            Err(error) => tracing::error!("the changed configuration is not applied: {error}"),
        }
        tokio::time::sleep(every).await;
    }
}

fn apply(changes: &Changes, log: &LogControl) {
    for entry in &changes.changed {
        let (key, value, origin) = (entry.option.key, entry.shown(), entry.origin.to_string());
        match entry.option.hot {
            true => tracing::info!(key, value, origin, "configuration changed"),
            false => tracing::warn!(key, value, origin, "a changed option needs a restart"),
        }
    }
    log.set_level(changes.config.log_level());
}
