//! `oip apikey`: keys for machines that cannot get tokens.

use clap::{Arg, ArgAction, ArgMatches, Command};
use oip::auth::new_api_key;

use crate::exit::{Exit, fail};
use crate::print;

pub(crate) fn command() -> Command {
    let id = Arg::new("id")
        .long("id")
        .value_name("ID")
        .required(true)
        .help("The subject that the key stands for");
    let roles = Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .action(ArgAction::Append)
        .help("A role of it; may come again");
    let new = Command::new("new")
        .about("Make a key, and the line for the file that auth_api_keys_file names")
        .long_about(
            "Make a key. The key stands on the first line and is kept nowhere; the second line \
             belongs into the file that auth_api_keys_file names.",
        )
        .arg(id)
        .arg(roles);
    Command::new("apikey")
        .about("Make API keys")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(new)
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let Some(("new", matches)) = matches.subcommand() else {
        return Exit::Usage;
    };
    let id = matches.get_one::<String>("id").map_or("", String::as_str);
    let roles = matches.get_many::<String>("role").into_iter().flatten();
    let roles: Vec<String> = roles.cloned().collect();
    match new_api_key(id, &roles) {
        Ok(made) => {
            let key = String::from_utf8_lossy(made.key.expose());
            let printed = print::line(key).and_then(|()| print::line(&made.line));
            printed.err().unwrap_or(Exit::Success)
        }
        Err(error) => fail(Exit::Usage, error),
    }
}
