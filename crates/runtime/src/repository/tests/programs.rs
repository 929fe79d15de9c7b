//! Models that are programs, of an engine that a test brings.

use super::settings::parameter;
use super::*;
use crate::engine::{Programs, Share};
use crate::model::{Engine, LoadError, Model, ModelFile};
use crate::schedule::fake::Fake;

/// Makes models that run two requests at once, whatever it is asked for.
struct Twofold;

impl Engine for Twofold {
    fn name(&self) -> &'static str {
        "twofold"
    }

    fn load(&self, _: &ModelFile, _: Share) -> Result<Arc<dyn Model>, LoadError> {
        Ok(Fake::of_sessions(2))
    }
}

async fn house(settings: &str, concurrency: Option<usize>) -> House {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "m/1/model.fake", b"a program");
    put(folder.path(), "m/model.toml", settings.as_bytes());
    let programs = Programs {
        file: "model.fake",
        engine: Arc::new(Twofold),
    };
    House::at(folder, |options| {
        options.programs = vec![programs];
        options.concurrency = concurrency;
    })
    .await
}

#[tokio::test]
async fn a_model_has_no_more_instances_than_its_engine_runs_at_once() {
    for (settings, concurrency, instances) in [
        ("", Some(32), 2),
        ("instances = 8", None, 2),
        ("instances = 1", Some(32), 1),
        ("[batching]\nmax_batch_size = 4\n", Some(32), 2),
    ] {
        let house = house(settings, concurrency).await;
        let config = house.config().await;
        assert_eq!(config.instances, instances, "{settings}");
        assert_eq!(parameter(&config, "batching.off"), None);
        let schedule = house.repository.slot_for("m").schedule().clone();
        assert_eq!(schedule.queued("m").instances, instances as usize);
    }
}
