use super::*;

#[test]
fn config_prints_value_source_and_default_of_every_option() {
    let mut command = oip(&[
        "config",
        "models",
        "--rest-port",
        "9",
        "--auth-enabled",
        "false",
    ]);
    command.env("GRPC_PORT", "10");
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for part in [
        "# from: --rest-port; default: 8082\nrest_port=9\n",
        "# from: environment variable GRPC_PORT; default: 8081\ngrpc_port=10\n",
        "# from: default\n#shutdown_grace=30s\n",
        "# from: default\n# can change without a restart (reload=true)\n#log_level=info\n",
        "model_repository=models\n",
        "#port=\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn config_shows_no_secret_anywhere() {
    let mut command = oip(&["config", "--auth-enabled", "false"]);
    command.env("AUTH_SECRET", "hunter2");
    let output = output(&mut command);
    assert!(stdout(&output).contains("#auth_secret=***"));
    assert!(!format!("{output:?}").contains("hunter2"));
}

#[test]
fn what_config_prints_is_a_properties_file_that_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--auth-enabled",
        "false",
        "--forward-headers",
        "a,b",
        "--onnxruntime-library",
        r"C:\lib",
    ];
    let printed = stdout(&output(oip(&["config"]).args(flags)));
    std::fs::write(folder.path().join("oip.properties"), &printed).unwrap();
    let again = stdout(&output(
        oip(&["config"]).env("KRAUSENING_BASE", folder.path()),
    ));
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("# from"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(&printed), values(&again));
}

#[test]
fn config_says_on_the_side_why_a_server_would_not_start() {
    let output = output(&mut oip(&["config"]));
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("auth_enabled"));
}

#[test]
fn config_check_is_silent_about_a_good_configuration_and_exits_2_on_a_bad_one() {
    let secret = "a secret that is longer than 32 bytes";
    let good = output(oip(&["config", "check"]).env("AUTH_SECRET", secret));
    assert_eq!((good.status.code(), stderr(&good).as_str()), (Some(0), ""));
    let repository = ["config", "check", "--auth-enabled", "no"];
    for arguments in [
        &["config", "check"][..],
        &["config", "check", "--no-such-flag", "1"],
        &[&repository[..], &["--cors-origins", "*"]].concat(),
        &[&repository[..], &["--port", "1", "--rest-port", "2"]].concat(),
        &["config", "check", "--rest-port", "abc"],
        &["config", "check", "--auth-enabled", "no", "/does/not/exist"],
    ] {
        let bad = output(&mut oip(arguments));
        assert_eq!(bad.status.code(), Some(2), "{arguments:?}");
        // What is warned of comes before; clap adds a line of usage to a flag it does not know.
        let said = stderr(&bad);
        let mut told = said.lines();
        let first = told.find(|line| !line.starts_with("warning: "));
        assert!(
            first.is_some_and(|line| line.starts_with("error: ")),
            "{said}"
        );
    }
}

#[test]
fn config_check_warns_of_what_a_server_would_warn_of() {
    let secret = "a secret that is longer than 32 bytes";
    for (arguments, warned) in [
        (
            &["--auth-enabled", "false"][..],
            "AUTHENTICATION IS OFF: everyone on this machine",
        ),
        (
            &["--auth-enabled", "false", "--grpc-host", "0.0.0.0"],
            "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE",
        ),
        (
            &["--auth-enabled", "false", "--pdp-timeout", "1s"],
            "not used, as authentication is off: auth_secret, pdp_timeout",
        ),
        (&["--rest-host", "0.0.0.0"], "WITHOUT TLS"),
        (&["--policy-mode", "shadow"], "THE POLICY REFUSES NOBODY"),
        (&["--trusted-proxies", "::/0"], "trusted_proxies"),
        (&["--auth-require-exp", "no"], "auth_require_exp"),
        (&["--auth-leeway", "10m"], "auth_leeway"),
        (&["--audit-file", "/dev/null"], "audit_file is a device"),
        (
            &["--policy-file", "/dev/null"],
            "policy_file holds no policy",
        ),
    ] {
        let checked = output(
            oip(&["config", "check"])
                .args(arguments)
                .env("AUTH_SECRET", secret),
        );
        let said = stderr(&checked);
        assert_eq!(checked.status.code(), Some(0), "{said}");
        let mut lines = said.lines();
        let found = lines.any(|line| line.starts_with("warning: ") && line.contains(warned));
        assert!(found, "{arguments:?}: {said}");
    }
}

#[test]
fn every_error_is_told_in_a_line_of_its_own() {
    let wrong = ["--rest-port=abc", "--pdp=opa", "--trusted-proxies=proxy"];
    for command in [&["config", "check"][..], &["config"]] {
        let bad = output(oip(command).args(wrong).env("OIP_SHUTDOWN_GRACE", "soon"));
        assert_eq!(bad.status.code(), Some(2));
        let said = stderr(&bad);
        for part in [
            "rest_port is 'abc' (--rest-port): expected a port",
            "shutdown_grace is 'soon' (environment variable OIP_SHUTDOWN_GRACE): expected a time",
            "pdp is opa (--pdp) and pdp_url",
            "trusted_proxies is 'proxy' (--trusted-proxies): expected IP addresses",
            "auth_enabled is true (default)",
        ] {
            let mut lines = said.lines();
            let found = lines.find(|line| line.starts_with("error: ") && line.contains(part));
            assert!(found.is_some(), "{part}: {said}");
        }
        assert_eq!(said.lines().count(), 5, "{said}");
    }
    // A start tells the values that make no sense first: what follows from them would only puzzle.
    let bad = output(
        oip(&["serve"])
            .args(wrong)
            .env("OIP_SHUTDOWN_GRACE", "soon"),
    );
    assert_eq!(
        (bad.status.code(), stderr(&bad).lines().count()),
        (Some(2), 2)
    );
    // Files are read when the options go together, and all of them are.
    let files = [
        "--tls-cert=/no/cert",
        "--tls-key=/no/key",
        "--policy-file=/no/policy",
    ];
    let bad = output(oip(&["config", "check"]).args(files).arg("/no/models"));
    assert_eq!(
        stderr(&bad).lines().count(),
        1,
        "auth_enabled without a key"
    );
    let keyed = |command: &[&str]| {
        let mut command = oip(command);
        command.args(files).arg("/no/models");
        output(command.env("AUTH_SECRET", "s".repeat(32)))
    };
    let bad = keyed(&["config", "check"]);
    assert_eq!(bad.status.code(), Some(2));
    for part in ["/no/models", "/no/cert", "/no/policy"] {
        assert!(stderr(&bad).contains(part), "{part}: {}", stderr(&bad));
    }
}

#[test]
fn what_opens_an_address_is_shown_nowhere() {
    let url = "https://user:hunter2@pdp.example/x?code=hunter3#hunter4";
    let given = [
        "--pdp-url",
        url,
        "--auth-jwks-url",
        url,
        "--auth-issuer",
        url,
    ];
    for command in [&["config"][..], &["config", "check"], &["serve"]] {
        let said = output(oip(command).args(given).args(["--auth-algorithm", "RS256"]));
        let text = format!("{said:?}");
        assert!(!text.contains("hunter"), "{text}");
        if command == ["config"] {
            let line = "#pdp_url=https://***@pdp.example/x?code=***#***";
            assert!(stdout(&said).contains(line), "{text}");
        }
    }
}

#[test]
fn a_misspelt_key_is_warned_about_with_its_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oip.properties"), "rest_prot=1\n").unwrap();
    let mut command = oip(&["config", "check", "--auth-enabled", "false"]);
    let output = output(command.env("KRAUSENING_BASE", folder.path()));
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("rest_port"), "{}", stderr(&output));
}

#[test]
fn a_secret_that_is_too_short_is_warned_about_and_not_shown() {
    for arguments in [&["config", "check"][..], &["config"]] {
        let said = output(oip(arguments).env("AUTH_SECRET", "hunter2"));
        assert_eq!(said.status.code(), Some(0));
        let text = stderr(&said);
        assert!(
            text.contains("warning: auth_secret is 7 bytes long"),
            "{text}"
        );
        assert!(!format!("{said:?}").contains("hunter2"));
    }
}

#[test]
fn a_secret_that_begins_with_hyphens_is_taken_and_not_shown() {
    for secret in [
        "--topsecret-value-xyz",
        "-----BEGIN PUBLIC KEY-----\nhunter2",
    ] {
        let said = output(&mut oip(&["config", "check", "--auth-secret", secret]));
        let text = format!("{said:?}");
        assert!(
            !text.contains("topsecret") && !text.contains("hunter2"),
            "{text}"
        );
        assert!(stderr(&said).contains("auth_secret is"), "{text}");
    }
}

#[test]
fn a_runtime_library_that_does_not_exist_is_found_out_without_a_start() {
    let flags = [
        "--auth-enabled",
        "no",
        "--onnxruntime-library",
        "/does/not/exist",
    ];
    let bad = output(oip(&["config", "check", MODELS]).args(flags));
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("/does/not/exist"), "{}", stderr(&bad));
}
