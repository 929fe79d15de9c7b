//! Watching the folder. It is listed again and again rather than watched by the system's file
//! events: those do not reach network and overlay mounts, and a ConfigMap's swap shows as an
//! event on a link that has nothing to do with the models' paths. A listing is a few `stat`s a
//! model and misses nothing that lasts.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use super::Repository;
use super::load::Trust;
use crate::directory::FoundModel;

/// What a look at the folder found, by the models' names.
pub(super) type Seen = BTreeMap<String, FoundModel>;

/// Watches until the repository is gone. `loaded` is the folder as it was before the start loaded
/// it, so that whatever changes from then on is acted on, and nothing else.
pub(super) fn watch(repository: Weak<Repository>, interval: Duration, loaded: Option<Seen>) {
    tokio::spawn(async move {
        let mut acted_on = loaded.unwrap_or_default();
        let mut last = acted_on.clone();
        loop {
            tokio::time::sleep(interval).await;
            if repository.strong_count() == 0 {
                return;
            }
            let Some(now) = look(&repository).await else {
                continue;
            };
            act(&repository, &mut acted_on, &last, &now).await;
            last = now;
        }
    });
}

/// The folder as it is now; `None` when it cannot be listed, which may pass.
pub(super) async fn look(repository: &Weak<Repository>) -> Option<Seen> {
    let directory = repository.upgrade()?.directory.clone();
    let found = tokio::task::spawn_blocking(move || directory.read()).await;
    match found.ok()? {
        Ok(found) => Some(found.into_iter().map(|m| (m.name.clone(), m)).collect()),
        Err(error) => {
            tracing::warn!("the model repository cannot be read now: {error}");
            None
        }
    }
}

/// Loads what is new or changed and unloads what is gone, once two looks in a row agree on it.
async fn act(repository: &Weak<Repository>, acted_on: &mut Seen, last: &Seen, now: &Seen) {
    let names: Vec<String> = acted_on.keys().chain(now.keys()).cloned().collect();
    for name in names {
        let found = now.get(&name);
        if last.get(&name) != found || acted_on.get(&name) == found {
            continue;
        }
        let Some(repository) = repository.upgrade() else {
            return;
        };
        match found {
            Some(found) => {
                acted_on.insert(name.clone(), found.clone());
                match repository.load_model(&name, Trust::AsItLooks).await {
                    Ok(()) => tracing::info!(model = name, "model loaded, as its folder changed"),
                    Err(error) => tracing::warn!(model = name, "load refused: {error}"),
                }
            }
            None => {
                acted_on.remove(&name);
                repository.forget(&name).await;
                tracing::info!(model = name, "model unloaded, as its folder is gone");
            }
        }
    }
}
