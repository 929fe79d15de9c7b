//! `oip audit`: whether an audit is whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oip::auth::audit::{AuditKey, Head, Report, verify, verify_log};

use crate::exit::{Exit, fail};
use crate::print;

pub(crate) fn command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The audit, as audit_file names it; - reads standard input");
    let key = Arg::new("key-file")
        .long("key-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The key of its chain, as audit_key_file names it");
    let head = Arg::new("head")
        .long("head")
        .value_name("COUNT:HASH")
        .value_parser(|text: &str| text.parse::<Head>())
        .action(ArgAction::Append)
        .help("A head from the server's log: finds lines that were cut off at the end")
        .long_help(
            "A head from the server's log: finds lines that were cut off at the end. May be \
             repeated. A server that is started again goes on after what it finds, so give the \
             last head of each run.",
        );
    let log = Arg::new("log")
        .long("log")
        .action(ArgAction::SetTrue)
        .help("FILE is a log of the server, text or JSON, among whose lines the audit stands");
    let verify = Command::new("verify")
        .about("Find lines that were changed, dropped or moved; exit code 1 when there are any")
        .arg(file)
        .arg(key)
        .arg(head)
        .arg(log);
    Command::new("audit")
        .about("Look over an audit")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(verify)
}

pub(crate) fn run(matches: &ArgMatches) -> Exit {
    let Some(("verify", matches)) = matches.subcommand() else {
        return Exit::Usage;
    };
    let key = matches.get_one::<PathBuf>("key-file");
    let key = match key.map(|path| AuditKey::from_file(path)).transpose() {
        Ok(key) => key,
        Err(error) => return fail(Exit::Usage, error),
    };
    let heads = matches.get_many::<Head>("head");
    let heads: Vec<Head> = heads.into_iter().flatten().copied().collect();
    let path = matches
        .get_one::<PathBuf>("file")
        .map_or(Path::new(""), |path| path);
    let report = open(path).and_then(|audit| match matches.get_flag("log") {
        true => verify_log(audit, key, &heads),
        false => verify(audit, key, &heads),
    });
    match report {
        Ok(report) => say(&report).unwrap_or_else(|exit| exit),
        Err(error) => fail(Exit::Usage, format!("{}: {error}", path.display())),
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    match path.to_str() {
        Some("-") => Ok(Box::new(io::stdin().lock())),
        _ => Ok(Box::new(BufReader::new(File::open(path)?))),
    }
}

fn say(report: &Report) -> Result<Exit, Exit> {
    for finding in &report.findings {
        print::line(finding)?;
    }
    let unsaid = report.found.saturating_sub(report.findings.len() as u64);
    if unsaid > 0 {
        print::line(format_args!("and {unsaid} more"))?;
    }
    print::line(format_args!("{} lines, head {}", report.lines, report.head))?;
    if let Some(note) = report.without_key() {
        print::aside(format_args!("note: {note}"));
    }
    if report.heads == 0 {
        print::aside("note: without a head from the log (--head) a cut end cannot be found");
    }
    Ok(match report.is_whole() {
        true => {
            print::line(report.verdict())?;
            Exit::Success
        }
        false => fail(
            Exit::Failed,
            format!("the audit is not whole: {} findings", report.found),
        ),
    })
}
