//! Models that are programs, of an engine that a test brings.

use oip_core::Call;
use oip_protocol::{Datatype, TensorMetadata};

use super::settings::parameter;
use super::*;
use crate::engine::{Programs, Share};
use crate::model::{Engine, Laps, LoadError, Model, ModelFile, Note};
use crate::schedule::fake::{Fake, rows};

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
    house_of(Arc::new(Twofold), settings, concurrency).await
}

async fn house_of(engine: Arc<dyn Engine>, settings: &str, concurrency: Option<usize>) -> House {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "m/1/model.fake", b"a program");
    put(folder.path(), "m/model.toml", settings.as_bytes());
    let programs = Programs {
        file: "model.fake",
        engine,
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

/// A model whose requests cannot be gathered, as one of its outputs has one row, always.
#[derive(Clone)]
struct Single(Arc<Fake>, TensorMetadata);

impl Model for Single {
    fn inputs(&self) -> &[TensorMetadata] {
        self.0.inputs()
    }

    fn outputs(&self) -> &[TensorMetadata] {
        std::slice::from_ref(&self.1)
    }

    fn note(&self, request: &InferRequest, call: &Call) -> Option<Note> {
        self.0.note(request, call)
    }

    fn run_noted(&self, inputs: &[Tensor], note: Note, laps: &mut Laps) -> Result<Vec<Tensor>> {
        self.0.run_noted(inputs, note, laps)
    }

    fn run(&self, inputs: &[Tensor], laps: &mut Laps) -> Result<Vec<Tensor>> {
        self.0.run(inputs, laps)
    }
}

impl Engine for Single {
    fn name(&self) -> &'static str {
        "single"
    }

    fn load(&self, _: &ModelFile, _: Share) -> Result<Arc<dyn Model>, LoadError> {
        Ok(Arc::new(self.clone()))
    }
}

#[tokio::test]
async fn what_a_model_is_told_of_a_request_does_not_depend_on_the_check_of_batching() {
    let batching = "[batching]\nmax_batch_size = 4\n";
    for (settings, noted) in [("", 1), (batching, 0), ("[cache]\nmax_bytes = 10000", 0)] {
        let output = TensorMetadata::new("y", Datatype::Int64, [1, -1]);
        let single = Single(Fake::new(), output);
        let house = house_of(Arc::new(single.clone()), settings, None).await;
        let config = house.config().await;
        let off = parameter(&config, "batching.off").is_some();
        assert_eq!(off, settings == batching);
        let mut request = InferRequest::new([rows(&[7], 1)]);
        request.id = Some("a request".to_owned());
        let answer = ask_all(&house.dataplane, m(), request, None).await.unwrap();
        assert_eq!(answer.outputs[0].to_slice::<i64>().unwrap()[0], 14);
        assert_eq!(single.0.noted.lock().unwrap().len(), noted, "{settings}");
    }
}
