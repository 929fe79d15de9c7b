//! The flags, from the table of options.

use clap::{Arg, ArgAction, ArgMatches, Command};
use oip::config::{ConfigOption, Group, Kind, OPTIONS, Sources, Standing};

/// The folder of models as a plain argument.
const FOLDER: &str = "DIR";

/// Adds a flag for every option, and the folder of models as a plain argument.
pub(crate) fn with_options(command: Command) -> Command {
    let folder = Arg::new(FOLDER)
        .help("Folder of models, as --model-repository")
        .value_parser(clap::builder::StringValueParser::new())
        .conflicts_with_all(["model-repository", "model_dir"]);
    let command = command.arg(folder);
    Group::ALL.iter().fold(command, |command, group| {
        let options = OPTIONS.iter().filter(|option| option.group == *group);
        options.fold(command, |command, option| {
            option.flag_spellings().fold(command, |command, spelling| {
                command.arg(flag(option, &spelling))
            })
        })
    })
}

/// One spelling of an option. The table reads and checks the value, so that the command line,
/// the environment and files are held to the same rules and answer with the same words.
fn flag(option: &'static ConfigOption, spelling: &str) -> Arg {
    let ours = spelling == option.flag();
    let flag = Arg::new(spelling.to_owned());
    // Arguments are appended to others, as KServe does it: the last one counts. A list gathers,
    // but under KServe's name, where its own server takes the last one too.
    let flag = match option.kind {
        Kind::List if ours => flag.action(ArgAction::Append),
        _ => flag
            .action(ArgAction::Set)
            .overrides_with(spelling.to_owned()),
    };
    let flag = match option.bare && !ours {
        // What follows is not its value, but for one behind an equals sign.
        true => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        false => flag,
    };
    flag.long(spelling.to_owned())
        .value_name(option.kind.placeholder())
        .help(help(option))
        .help_heading(option.group.title())
        .allow_negative_numbers(true)
        // A secret may begin with hyphens, as PEM does. Were it taken for a flag, the refusal
        // would show it.
        .allow_hyphen_values(option.secret)
        .hide(!ours || option.standing != Standing::Honoured)
}

fn help(option: &ConfigOption) -> String {
    let mut help = option.help.trim_end_matches('.').to_owned();
    if let Kind::Choice(words) = option.kind {
        help.push_str(&format!(" [{}]", words.join(", ")));
    }
    if !option.default.is_empty() {
        help.push_str(&format!(" [default: {}]", option.default));
    }
    help
}

/// Adds the flags of some options, by their keys.
pub(crate) fn with_some_options(command: Command, keys: &[&str]) -> Command {
    let options = OPTIONS.iter().filter(|option| keys.contains(&option.key));
    options.fold(command, |command, option| {
        command.arg(flag(option, &option.flag()))
    })
}

/// The environment of this process, and the flags that were given.
pub(crate) fn sources(matches: &ArgMatches) -> Sources {
    let sources = flags(matches, OPTIONS.iter());
    match matches.get_one::<String>(FOLDER) {
        Some(folder) => sources.with_flag("model-repository", folder.clone()),
        None => sources,
    }
}

/// The environment of this process, and the flags of [`with_some_options`] that were given.
pub(crate) fn some_sources(matches: &ArgMatches, keys: &[&str]) -> Sources {
    flags(
        matches,
        OPTIONS.iter().filter(|option| keys.contains(&option.key)),
    )
}

fn flags(matches: &ArgMatches, options: impl Iterator<Item = &'static ConfigOption>) -> Sources {
    let mut sources = Sources::process();
    for option in options {
        for spelling in option.flag_spellings() {
            let values = matches.get_many::<String>(&spelling);
            for value in values.into_iter().flatten() {
                sources = sources.with_flag(spelling.clone(), value.clone());
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Sources {
        let command = with_options(Command::new("serve"));
        let matches = command.try_get_matches_from([&["serve"][..], arguments].concat());
        sources(&matches.unwrap())
    }

    /// The value in force of a key.
    fn shown(sources: &Sources, key: &str) -> String {
        let config = oip::config::Config::resolve(sources).unwrap();
        let mut entries = config.entries().iter();
        let entry = entries.find(|entry| entry.option.key == key).unwrap();
        entry.shown().to_owned()
    }

    #[test]
    fn a_secret_may_begin_with_hyphens() {
        for secret in [
            "--topsecret-value-xyz",
            "-----BEGIN PUBLIC KEY-----\nx",
            "-s",
        ] {
            for option in OPTIONS.iter().filter(|option| option.secret) {
                let flag = format!("--{}", option.flag());
                let command = with_options(Command::new("serve"));
                let matches = command.try_get_matches_from(["serve", "m", &flag, secret]);
                let matches = matches.unwrap();
                assert_eq!(matches.get_one::<String>(&option.flag()).unwrap(), secret);
            }
        }
    }

    #[test]
    fn of_a_flag_that_comes_twice_the_last_counts() {
        for (flag, first, last, key) in [
            ("http_port", "8080", "8081", "rest_port"),
            ("model_name", "a", "b", "model_name"),
            ("enable_grpc", "true", "false", "grpc"),
            ("rest-port", "8080", "8081", "rest_port"),
        ] {
            let [one, two] = [first, last].map(|value| format!("--{flag}={value}"));
            assert_eq!(shown(&given(&[&one, &two]), key), last, "{flag}");
        }
    }

    #[test]
    fn a_flag_of_kserves_may_stand_alone_before_the_folder() {
        let key = "kserve_enable_predictor_health_check";
        let sources = given(&["--enable_predictor_health_check", "models"]);
        assert_eq!(shown(&sources, key), "true");
        assert_eq!(shown(&sources, "model_repository"), "models");
        let sources = given(&["--enable_predictor_health_check=false"]);
        assert_eq!(shown(&sources, key), "false");
    }

    #[test]
    fn a_list_under_our_name_gathers() {
        let sources = given(&["--model-name=a", "--model-name=b"]);
        assert_eq!(shown(&sources, "model_name"), "a,b");
    }
}
