use super::super::arrivals::Spacing;
use super::*;

fn options(arguments: &[&str]) -> Result<Options, String> {
    let arguments = [&["bench"], arguments].concat();
    let matches = command().try_get_matches_from(arguments);
    let matches = matches.map_err(|error| error.to_string())?;
    Options::of(&matches).map_err(|error| error.to_string())
}

fn names(options: &Options) -> Vec<String> {
    options.works.iter().map(Work::name).collect()
}

#[test]
fn the_command_lines_are_consistent() {
    command().debug_assert();
    child_command().debug_assert();
}

#[test]
fn plainly_everything_is_measured_on_our_own_server() {
    let options = options(&[]).unwrap();
    assert_eq!(options.works.len(), WORKS.len());
    assert_eq!((options.connections, options.repeat), (vec![32], 1));
    assert_eq!(options.measure, Duration::from_secs(5));
    assert!(options.targets.is_empty() && options.floor && options.rates.is_empty());
}

#[test]
fn a_server_with_one_door_is_measured_through_that_door() {
    let options = options(&["--grpc-url", "127.0.0.1:8001"]).unwrap();
    assert!(options.works.iter().all(Work::is_grpc));
    assert_eq!(options.works.len(), 2);
}

#[test]
fn two_doors_without_names_are_one_server_and_names_make_several() {
    let one = options(&[
        "--url",
        "127.0.0.1:1",
        "--grpc-url",
        "127.0.0.1:2",
        "--pid",
        "7",
    ]);
    let one = one.unwrap().targets;
    assert_eq!((one.len(), one[0].name.as_str()), (1, "127.0.0.1:1"));
    assert!(one[0].rest.is_some() && one[0].grpc.is_some());
    assert_eq!(one[0].process, Some(7));
    let several = [
        "--url",
        "a=127.0.0.1:1",
        "--grpc-url",
        "b=127.0.0.1:2",
        "--url",
    ];
    let more = ["b=127.0.0.1:3", "--pid", "b=9"];
    let several = options(&[&several[..], &more[..]].concat())
        .unwrap()
        .targets;
    let names: Vec<&str> = several.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(several[0].grpc.is_none() && several[1].grpc.is_some());
    assert_eq!((several[0].process, several[1].process), (None, Some(9)));
}

#[test]
fn a_url_may_hold_an_equals_sign_and_have_no_name() {
    let one = options(&["--url", "http://127.0.0.1:1/a=b"])
        .unwrap()
        .targets;
    assert_eq!(one[0].name, "127.0.0.1:1");
    assert_eq!(one[0].rest.as_ref().unwrap().prefix, "/a=b");
}

#[test]
fn servers_that_cannot_be_told_apart_are_refused() {
    let twice = options(&["--url", "a=127.0.0.1:1", "--url", "a=127.0.0.1:2"]);
    assert!(twice.unwrap_err().contains("server 'a' has two of it"));
    assert_eq!(
        options(&["--own", "--url", "a=127.0.0.1:1"])
            .unwrap()
            .servers(),
        2
    );
    let whose = options(&[
        "--url",
        "a=127.0.0.1:1",
        "--url",
        "b=127.0.0.1:2",
        "--pid",
        "3",
    ]);
    assert!(whose.unwrap_err().contains("NAME=PID"));
}

#[test]
fn lists_are_measured_value_by_value() {
    let arguments = [
        "--only",
        "grpc",
        "--elements",
        "16, 4k,1M",
        "--connections",
        "1,2,256",
    ];
    let options = options(
        &[
            &arguments[..],
            &["--rate", "10,20.5", "--arrivals", "constant"],
        ]
        .concat(),
    );
    let options = options.unwrap();
    assert_eq!(names(&options), ["grpc-16", "grpc-4096", "grpc-1048576"]);
    assert_eq!(options.connections, [1, 2, 256]);
    let rates: Vec<f64> = options.rates.iter().map(|rate| rate.per_second).collect();
    assert_eq!(rates, [10.0, 20.5]);
    assert!(
        options
            .rates
            .iter()
            .all(|rate| rate.spacing == Spacing::Constant)
    );
}

#[test]
fn a_way_to_travel_stands_for_its_sizes_and_a_file_has_none() {
    assert_eq!(
        names(&options(&["--only", "grpc"]).unwrap()),
        ["grpc-16", "grpc-150528"]
    );
    let file = options(&["--input", "x.json", "--url", "127.0.0.1:1"]).unwrap();
    assert_eq!(names(&file), ["rest-json", "rest-binary"]);
    let both = options(&["--only", "grpc-16", "--elements", "5"]).unwrap_err();
    assert!(both.contains("--only grpc-16"), "{both}");
}

#[test]
fn the_gates_are_measured_with_small_requests_on_our_own_server() {
    let gates = options(&["--gates"]).unwrap();
    assert_eq!(names(&gates), ["rest-json-16", "grpc-16"]);
    assert!(options(&["--gates", "--url", "127.0.0.1:1"]).is_err());
}

#[test]
fn what_is_measured_instead_is_one_thing_and_has_its_own_connections() {
    for (flag, mode, connections) in [
        ("--gates", Mode::Gates, 32),
        ("--batching", Mode::Batching, 64),
        ("--latency", Mode::Latency, 32),
        ("--mixed", Mode::Mixed, 32),
        ("--overload", Mode::Overload, 256),
        ("--onnx", Mode::Onnx, 8),
    ] {
        let options = options(&[flag]).unwrap();
        assert_eq!(
            (options.mode, options.one_connections()),
            (mode, connections)
        );
    }
    assert!(options(&["--latency", "--mixed"]).is_err());
    assert!(
        options(&["--latency", "--connections", "1,2"])
            .unwrap_err()
            .contains("no list")
    );
}

#[test]
fn under_overload_requests_have_as_many_elements_as_is_said() {
    let elements = |arguments: &[&str]| options(arguments).map(|options| options.one_elements());
    assert_eq!(elements(&["--overload"]).unwrap(), 16);
    let images = elements(&["--overload", "--elements", "150528"]);
    assert_eq!(images.unwrap(), 150_528);
    let list = elements(&["--overload", "--elements", "16,4k"]).unwrap_err();
    assert!(list.contains("no list"), "{list}");
    for mode in ["--gates", "--batching", "--latency", "--mixed", "--onnx"] {
        let refusal = elements(&[mode, "--elements", "16"]).unwrap_err();
        assert!(refusal.contains("--elements"), "{refusal}");
    }
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    for (arguments, needed) in [
        (&["--arrivals", "constant"][..], "--rate"),
        (&["--service-time", "9"], "--overload"),
        (&["--within", "9"], "--overload"),
        (&["--latency", "--within", "9"], "--overload"),
    ] {
        let refusal = options(arguments).unwrap_err();
        assert!(refusal.contains(&format!("give {needed} too")), "{refusal}");
    }
    assert!(options(&["--overload", "--within", "9", "--service-time", "2"]).is_ok());
}

#[test]
fn a_warm_up_may_be_none_and_a_measurement_may_not() {
    let none = options(&["--warm-up", "0"]).unwrap();
    assert_eq!(none.warm_up, Duration::ZERO);
    assert!(options(&["--warm-up", "-1"]).is_err());
}

#[test]
fn values_that_make_no_sense_are_refused_and_named() {
    for (arguments, named) in [
        (["--seconds", "0"], "3600"),
        (["--seconds", "nan"], "3600"),
        (["--seconds", "1e9"], "3600"),
        (["--connections", "0"], "'0'"),
        (["--connections", "1,,2"], "''"),
        (["--connections", "1,x"], "'x'"),
        (["--elements", "1G"], "'1G'"),
        (["--elements", "99999999M"], "'99999999M'"),
        (["--rate", "5,-1"], "'-1'"),
        (["--rate", "inf"], "'inf'"),
        (["--arrivals", "bursts"], "poisson"),
        (["--only", "rest-xml"], "rest-json"),
        (["--url", "ftp://x"], "ftp://x"),
        (["--within", "0"], "milliseconds"),
        (["--pid", "0"], "no process id"),
        (["--pid", "a=0"], "no process id"),
    ] {
        let refusal = options(&arguments).unwrap_err();
        assert!(refusal.contains(named), "{arguments:?}: {refusal}");
    }
}
