//! What is opened on purpose is said, and the louder the further it reaches.

use super::*;

fn of(sources: &Sources) -> Settings {
    Config::resolve(sources).unwrap().settings().unwrap()
}

fn guarded() -> Sources {
    closed().with_variable("AUTH_SECRET", "a secret that is longer than 32 bytes")
}

/// What is told of the server at the addresses that are configured.
fn told(sources: &Sources) -> Vec<String> {
    let settings = of(sources);
    settings.concerns(settings.reach())
}

const HERE: Reach = Reach {
    doors: false,
    metrics: false,
};
const DOORS: Reach = Reach {
    doors: true,
    metrics: false,
};
const METRICS: Reach = Reach {
    doors: false,
    metrics: true,
};

#[test]
fn every_address_counts_and_a_unix_socket_takes_its_place() {
    let far = open().with_variable("GRPC_HOST", "0.0.0.0");
    assert_eq!(of(&far).reach(), DOORS);
    let socket = far.with_variable("OIP_GRPC_SOCKET", "/run/oip.sock");
    assert_eq!(of(&socket).reach(), HERE);
    let metrics = open().with_flag("metrics-host", "0.0.0.0");
    assert_eq!(
        of(&metrics).reach(),
        HERE,
        "without its port it is not opened"
    );
    assert_eq!(of(&metrics.with_flag("metrics-port", "9")).reach(), METRICS);
    let one = open().with_flag("port", "9").with_flag("rest-host", "::");
    assert_eq!(of(&one).reach(), DOORS);
    let mapped = ["[::ffff:127.0.0.1]:1", "[::1]:1", "127.9.9.9:1"];
    let mapped = mapped.map(|address| address.parse().unwrap());
    assert_eq!(Reach::of(mapped, None), HERE);
}

#[test]
fn what_is_said_hangs_on_what_is_reached_and_not_on_what_is_configured() {
    let plain = "WITHOUT TLS";
    let loud = "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE";
    let metrics = "AUTHENTICATION IS OFF AND /metrics";
    let off = "AUTHENTICATION IS OFF: everyone on this machine";
    let all = [plain, loud, metrics, off];
    for (sources, reach, expected) in [
        (open(), HERE, &[off][..]),
        (open(), DOORS, &[plain, loud]),
        (open(), METRICS, &[plain, metrics, off]),
        (guarded(), HERE, &[]),
        (guarded(), DOORS, &[plain]),
        (guarded(), METRICS, &[plain]),
    ] {
        let said = of(&sources).concerns(reach).join("\n");
        for sentence in all {
            let wanted = expected.contains(&sentence);
            assert_eq!(said.contains(sentence), wanted, "{reach:?}: {said}");
        }
    }
    let tls = open().with_flag("tls-cert", "c").with_flag("tls-key", "k");
    let said = of(&tls).concerns(DOORS).join("\n");
    assert!(!said.contains(plain) && said.contains(loud), "{said}");
    let certificates = of(&tls.with_flag("tls-client-ca", "a")).concerns(DOORS);
    assert_eq!(certificates.len(), 1, "{certificates:?}");
    assert!(certificates[0].contains("everyone with a certificate"));
}

#[test]
fn shadow_mode_is_said_and_louder_beyond_this_machine() {
    let shadow = guarded().with_flag("policy-mode", "shadow");
    let [here] = &told(&shadow)[..] else {
        panic!("{:?}", told(&shadow))
    };
    assert!(
        here.contains("REFUSES NOBODY: everyone on this machine"),
        "{here}"
    );
    for reach in [DOORS, METRICS] {
        let said = of(&shadow).concerns(reach).join("\n");
        let loud = "THE POLICY REFUSES NOBODY AND THIS SERVER LISTENS BEYOND THIS MACHINE";
        assert!(said.contains(loud), "{said}");
    }
}

#[test]
fn each_weak_check_is_said_and_a_usual_one_is_not() {
    assert_eq!(told(&guarded()), Vec::<String>::new());
    for (flag, value, said) in [
        (
            "auth-require-exp",
            "false",
            Some("auth_require_exp = false"),
        ),
        ("auth-leeway", "1h", Some("3600s after it has expired")),
        ("auth-leeway", "5m", None),
        (
            "trusted-proxies",
            "0.0.0.0/0",
            Some("trusted_proxies holds every"),
        ),
        (
            "trusted-proxies",
            "10.0.0.1,::/0",
            Some("trusted_proxies holds every"),
        ),
        ("trusted-proxies", "10.0.0.0/8", None),
        (
            "payload-log",
            "https://u:hunter2@h/x",
            Some("IS KEPT (payload_log): https://***@h/x"),
        ),
    ] {
        let told = told(&guarded().with_flag(flag, value));
        match said {
            None => assert!(told.is_empty(), "{flag} {value}: {told:?}"),
            Some(part) => {
                let [sentence] = &told[..] else {
                    panic!("{flag} {value}: {told:?}")
                };
                assert!(sentence.contains(part), "{sentence}");
                assert!(!sentence.contains("hunter2"), "{sentence}");
            }
        }
    }
}

#[test]
fn memory_that_a_few_large_bodies_fill_is_said() {
    for (memory, limit, warned) in [
        ("64MiB", "64MiB", true),
        ("64MiB", "17MiB", true),
        ("64MiB", "16MiB", false),
    ] {
        let sources = guarded().with_flag("body-memory", memory);
        let said = told(&sources.with_flag("body-limit", limit)).join("\n");
        assert_eq!(said.contains("body_memory"), warned, "{limit}: {said}");
    }
    assert!(!told(&guarded()).join("\n").contains("body_memory"));
}
