use super::*;

#[test]
fn help_lists_every_command_with_examples() {
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let output = output(&mut oip(arguments));
        assert_eq!(output.status.code(), Some(0));
        let text = stdout(&output);
        for word in ["serve", "config", "Examples:", "Exit codes"] {
            assert!(text.contains(word), "{text}");
        }
    }
}

#[test]
fn help_of_serve_has_every_option_in_its_group_and_no_other_servers_names() {
    let text = stdout(&output(&mut oip(&["serve", "--help"])));
    for option in oip::config::OPTIONS {
        let listed = option.standing == oip::config::Standing::Honoured;
        assert_eq!(
            text.contains(&format!("--{} ", option.flag())),
            listed,
            "{}",
            option.key
        );
    }
    for word in ["Addresses:", "Security:", "[default: 8082]", "Examples:"] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("--http_port"), "{text}");
}

#[test]
fn the_version_is_the_packages() {
    let text = stdout(&output(&mut oip(&["--version"])));
    assert_eq!(text.trim(), format!("oip {}", env!("CARGO_PKG_VERSION")));
}
