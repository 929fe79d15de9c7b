use super::*;

fn parse(text: &str) -> Result<ModelSettings, SettingsError> {
    ModelSettings::parse(text, Path::new("no/such/folder"))
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_the_same_as_none() {
    assert_eq!(parse("").unwrap(), ModelSettings::default());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        ModelSettings::read(folder.path()).unwrap(),
        ModelSettings::default()
    );
}

#[test]
fn the_example_of_the_documentation_is_read_whole() {
    let page = include_str!("../../../../docs/models.md");
    let example = page
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("warmup")).unwrap();
    let request =
        r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}"#;
    std::fs::write(folder.path().join("warmup/typical.json"), request).unwrap();
    std::fs::write(folder.path().join("labels.txt"), "cat\ndog\n").unwrap();
    let settings = ModelSettings::parse(example, folder.path()).unwrap();
    assert_eq!(settings.engine.as_deref(), Some("onnxruntime"));
    assert_eq!((settings.threads, settings.instances), (Some(2), Some(2)));
    assert_eq!(settings.versions, VersionPolicy::Latest(2));
    let batching = settings.batching.unwrap();
    assert_eq!(batching.max_batch_size, 32);
    assert_eq!(batching.max_queue_delay, Duration::from_millis(5));
    assert_eq!(batching.preferred_batch_sizes, [8, 16, 32]);
    assert!(batching.adaptive && batching.tolerance == 1e-5);
    assert_eq!(settings.queue.max_size, Some(200));
    assert_eq!(settings.queue.max_time, Some(Duration::from_secs(2)));
    assert_eq!(
        (
            settings.queue.priority_levels,
            settings.queue.default_priority
        ),
        (3, 2)
    );
    assert!(matches!(&settings.warmup[0], Warmup::Request { inputs, .. } if inputs.len() == 1));
    let Warmup::Made(made) = &settings.warmup[1] else {
        panic!("{:?}", settings.warmup);
    };
    assert_eq!(made["pixels"].shape.as_deref(), Some(&[8, 64][..]));
    let cache = settings.cache.unwrap();
    assert_eq!(cache.max_bytes, 64 << 20);
    assert_eq!(cache.ttl, Some(Duration::from_secs(600)));
    assert_eq!(settings.labels["probabilities"], ["cat", "dog"]);
    assert_eq!(settings.labels["quality"], ["good", "bad"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_one_it_most_likely_means() {
    assert_eq!(
        refused("[batching]\nmax_batchsize = 8"),
        "model.toml: unknown key 'batching.max_batchsize', did you mean 'max_batch_size'?; \
         allowed: max_batch_size, max_queue_delay, preferred_batch_sizes, adaptive, tolerance"
    );
    let far = refused("colour = 1");
    assert!(far.starts_with("model.toml: unknown key 'colour'; allowed: engine, threads"));
    assert!(refused("[queue]\nmax_queue_size = 3").contains("did you mean 'max_size'?"));
}

#[test]
fn a_value_that_cannot_be_is_refused_with_what_is_allowed() {
    for (text, sentence) in [
        (
            "threads = 0",
            "'threads' is 0, but it is a whole number from 1 to 1024",
        ),
        (
            "engine = \"torch\"",
            "'engine' is \"torch\", but it is \"onnxruntime\" or \"tract\"",
        ),
        ("batching = 8", "'batching' is 8, but it is a table"),
        (
            "[batching]\nmax_batch_size = \"8\"",
            "'batching.max_batch_size' is \"8\"",
        ),
        (
            "[batching]\nmax_batch_size = 8\nadaptive = 1",
            "'batching.adaptive' is 1, but it is true or false",
        ),
        (
            "[batching]\nmax_batch_size = 8\nmax_queue_delay = 5",
            "'batching.max_queue_delay' is 5, but it is a duration",
        ),
        (
            "[batching]\nmax_batch_size = 8\npreferred_batch_sizes = [9]",
            "from 1 to 8",
        ),
        (
            "[batching]\nadaptive = true",
            "'batching.max_batch_size' is missing",
        ),
        (
            "[batching]\nmax_batch_size = 8\ntolerance = nan",
            "'batching.tolerance' is NaN",
        ),
        (
            "[queue]\npriority_levels = 2\ndefault_priority = 3",
            "whole number from 1 to 2",
        ),
        (
            "[cache]\nmax_bytes = \"5 apples\"",
            "'cache.max_bytes' is \"5 apples\", but it is a number of bytes",
        ),
        ("[cache]\nmax_bytes = -1", "'cache.max_bytes' is -1"),
        (
            "[cache]\nmax_bytes = 1023",
            "'cache.max_bytes' is 1023, but it is a number of bytes from 1024 on",
        ),
        (
            "instances = 1.0",
            "'instances' is 1.0, but it is a whole number",
        ),
        ("[cache]\nttl = \"1 s\"", "'cache.max_bytes' is missing"),
        (
            "[cache]\nmax_bytes = 1024\nttl = \"0 ms\"",
            "'cache.ttl' is \"0\", but it is a duration above 0",
        ),
        (
            "version_policy = \"newest\"",
            "'version_policy' is \"newest\", but it is \"all\", { latest",
        ),
        (
            "version_policy = { latest = 1, specific = [2] }",
            "not both",
        ),
        ("version_policy = {}", "is missing"),
        ("labels = 3", "'labels' is 3"),
        (
            "labels = { y = [1] }",
            "'labels.y' is 1, but it is an array of texts",
        ),
        (
            "labels = { y = \"../x\" }",
            "'labels.y' names \"../x\", which is no path inside the model's folder",
        ),
        ("labels = { y = \"/etc/passwd\" }", "no path inside"),
        ("labels = { y = \"absent.txt\" }", "cannot be read"),
        (
            "warmup = 1",
            "'warmup' is 1, but it is written as [[warmup]]",
        ),
        (
            "[[warmup]]\ninputs = { x = { shape = [-1] } }",
            "'warmup[0].inputs.x.shape' is an array",
        ),
        (
            "[[warmup]]\ninputs = { x = { data = \"ones\" } }",
            "\"zeros\" or \"random\"",
        ),
        (
            "[[warmup]]\ninputs = { x = { shape = [100000, 100000] } }",
            "elements at most",
        ),
        ("threads =", "model.toml is no TOML: line 1"),
        ("a = 1\nb = [", "line 2"),
    ] {
        let found = refused(text);
        assert!(found.contains(sentence), "{text}: {found}");
    }
}

#[test]
fn durations_and_sizes_read_in_every_unit() {
    let delay = |text: &str| {
        let text = format!("[batching]\nmax_batch_size = 2\nmax_queue_delay = \"{text}\"");
        parse(&text).unwrap().batching.unwrap().max_queue_delay
    };
    assert_eq!(delay("100us"), Duration::from_micros(100));
    assert_eq!(delay("1.5 ms"), Duration::from_micros(1500));
    assert_eq!(delay("2 s"), Duration::from_secs(2));
    let size = |text: &str| {
        let cache = parse(&format!("[cache]\nmax_bytes = {text}"))
            .unwrap()
            .cache;
        cache.unwrap().max_bytes
    };
    assert_eq!(size("\"1.5 KiB\""), 1536);
    assert_eq!(size("\"2GiB\""), 2 << 30);
    assert_eq!(size("1024"), 1024);
}

#[test]
fn a_file_of_labels_may_begin_with_a_mark_and_end_with_blank_lines() {
    let folder = tempfile::tempdir().unwrap();
    let labels = "\u{feff}cat\r\n\r\n dog \r\n\r\n  \n";
    std::fs::write(folder.path().join("labels.txt"), labels).unwrap();
    let settings = ModelSettings::parse("labels = { y = \"labels.txt\" }", folder.path());
    assert_eq!(settings.unwrap().labels["y"], ["cat", "", "dog"]);
}
