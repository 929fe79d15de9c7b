use super::*;
use crate::DefaultModelHandler;

/// Loads whatever is not called `broken` or `panics`.
struct Loader;

impl ModelHandler for Loader {
    async fn model_load(&self, model: &ModelRef) -> Result<()> {
        match model.name.as_str() {
            "broken" => Err(Error::does_not_fit("no weights")),
            "panics" => panic!("oh"),
            _ => Ok(()),
        }
    }

    async fn model_unload(&self, _: &ModelRef) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn without_names_every_name_is_ready() {
    let models = Handled::new(DefaultModelHandler, [""; 0]);
    models.start().await;
    assert!(models.all_ready().await);
    assert!(models.ready(&ModelRef::new("anything")).await.unwrap());
}

#[tokio::test]
async fn with_names_any_other_is_not_found() {
    let models = Handled::new(DefaultModelHandler, ["iris"]);
    models.start().await;
    assert!(models.ready(&ModelRef::new("iris")).await.unwrap());
    let error = models.ready(&ModelRef::new("rose")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_failed_load_makes_its_model_unavailable_and_the_server_not_ready() {
    let models = Handled::new(Loader, ["iris", "broken"]);
    models.start().await;
    assert!(!models.all_ready().await);
    assert!(models.ready(&ModelRef::new("iris")).await.unwrap());
    assert!(!models.ready(&ModelRef::new("broken")).await.unwrap());
    let index = models.index().await.unwrap();
    let reasons: Vec<_> = index.iter().map(|entry| entry.reason.as_str()).collect();
    assert_eq!(reasons, ["no weights", ""]);
    let model = ModelRef::new("broken");
    let refused = models.resolve(&model).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_panic_in_one_load_is_the_failure_of_its_model_alone() {
    let models = Handled::new(Loader, ["iris", "panics", "rose"]);
    models.start().await;
    let index = models.index().await.unwrap();
    let states: Vec<_> = index.iter().map(|entry| entry.state).collect();
    use ModelState::{Ready, Unavailable};
    assert_eq!(states, [Ready, Unavailable, Ready]);
    assert!(!models.all_ready().await);
    let error = models.load("panics").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerFailed);
}

/// Notes itself how long its run took.
struct Notes;

impl ModelHandler for Notes {
    async fn infer(&self, _: InferRequest, call: &Call) -> Result<InferResponse> {
        call.timings()
            .add(Part::ComputeInfer, Duration::from_nanos(7));
        Ok(InferResponse::new(Vec::new()))
    }
}

#[tokio::test]
async fn a_run_that_the_handler_times_itself_is_counted_once() {
    let models = Handled::new(Notes, [""; 0]);
    let model = ModelRef::new("m");
    let resolved = models.resolve(&model).await.unwrap();
    let access = crate::Access::open();
    let caller = access.authenticate(crate::access::Arrival::default()).await;
    let call = Call::new(model, caller.unwrap(), None);
    let answered = resolved.infer(InferRequest::new(Vec::new()), &call).await;
    assert!(answered.is_ok());
    assert_eq!(call.timings().get(Part::ComputeInfer), 7);
}

/// Counts how often it is asked what it declares.
#[derive(Default)]
struct Declares(std::sync::atomic::AtomicU64);

impl ModelHandler for Declares {
    async fn model_metadata(&self, model: &ModelRef) -> Result<ModelMetadata> {
        let asked = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(ModelMetadata {
            name: model.name.clone(),
            versions: vec![(asked + 1).to_string()],
            ..ModelMetadata::default()
        })
    }

    async fn model_load(&self, _: &ModelRef) -> Result<()> {
        Ok(())
    }

    async fn model_unload(&self, _: &ModelRef) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_declared_is_asked_once_for_many_inferences_and_anew_after_a_load() {
    let models = Handled::new(Declares::default(), ["iris"]);
    models.start().await;
    let model = ModelRef::new("iris");
    for _ in 0..3 {
        let resolved = models.resolve(&model).await.unwrap();
        assert_eq!(resolved.version(), Some("1"));
    }
    models.load("iris").await.unwrap();
    let resolved = models.resolve(&model).await.unwrap();
    assert_eq!(resolved.version(), Some("2"));
}

#[tokio::test]
async fn what_was_declared_a_moment_ago_is_found_at_once_and_asked_anew_later() {
    let models = Handled::new(Declares::default(), ["iris"]);
    let (model, other) = (ModelRef::new("iris"), ModelRef::new("rose"));
    let at_once = |model, now| {
        let found = models.resolve_at_once(model, now)?;
        let version = found.map(|model| model.version().unwrap_or_default().to_owned());
        Some(version.map_err(|error| error.kind()))
    };
    let refused = |kind| Some(Err(kind));
    assert_eq!(at_once(&model, now()), refused(ErrorKind::Unavailable));
    assert_eq!(at_once(&other, now()), refused(ErrorKind::NotFound));
    models.start().await;
    assert_eq!(at_once(&model, now()), None, "the handler was never asked");
    models.resolve(&model).await.unwrap();
    assert_eq!(at_once(&model, now()), Some(Ok("1".to_owned())));
    assert_eq!(at_once(&model, now() + BELIEVED), None);
    models.load("iris").await.unwrap();
    assert_eq!(at_once(&model, now()), None, "it was loaded anew");
    models.resolve(&model).await.unwrap();
    models.unload("iris").await.unwrap();
    assert_eq!(at_once(&model, now()), refused(ErrorKind::NotFound));
}

#[tokio::test]
async fn what_is_declared_is_kept_of_few_models_however_many_names_are_asked_for() {
    let models = Handled::new(Declares::default(), [""; 0]);
    for number in 0..3 * MOST_DECLARED {
        let model = ModelRef::new(format!("m{number}"));
        models.resolve(&model).await.unwrap();
        assert!(models.declared.read().unwrap().models.len() <= MOST_DECLARED);
    }
}

#[tokio::test]
async fn an_unloaded_model_is_not_found_and_the_server_stays_ready() {
    let models = Handled::new(Loader, ["iris"]);
    models.start().await;
    models.unload("iris").await.unwrap();
    let error = models.ready(&ModelRef::new("iris")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(models.all_ready().await);
    models.load("iris").await.unwrap();
    assert!(models.ready(&ModelRef::new("iris")).await.unwrap());
}
