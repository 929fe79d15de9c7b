//! An audit that went to the server's log: its lines and heads are found among the others.

use std::io::{self, BufRead, Read as _};

use serde_json::Value;

use super::{Chain, Finding, Head, LONGEST, Report, Sealed, hold};
use crate::audit::AuditKey;

/// What the lines of the audit are logged under.
const TARGET: &str = "oip::audit";
/// What a line of an audit begins with.
const LINE: &str = "{\"seq\":";
/// What the line of a head says.
const HEAD: &str = "audit head";

/// What one line of a log holds of an audit.
enum Found {
    Line(String),
    Head(Head),
    Nothing,
}

/// Finds the audit in a log of this server, as text or JSON, and holds it against its chain.
///
/// The chain of an audit that goes to the log begins anew with each start: a number 1 begins
/// another. Heads in the log are held against the lines before them, so a gap at the end of a run
/// is found as long as its head is there.
///
/// # Errors
/// The log cannot be read.
pub fn verify_log(
    mut log: impl BufRead,
    key: Option<AuditKey>,
    heads: &[Head],
) -> io::Result<Report> {
    let keyed = key.is_some();
    let chain = Chain::new(key);
    let mut report = Report::new(chain.start(), keyed);
    let mut missing: Vec<Head> = heads.to_vec();
    missing.retain(|head| head.count > 0);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if log.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        match std::str::from_utf8(&bytes).map_or(Found::Nothing, |text| find(text.trim_end())) {
            Found::Nothing => {}
            Found::Head(head) => hold_head(&mut report, head),
            Found::Line(text) => match Sealed::parse(&text) {
                None => report.add(Finding::NotALine { line }),
                Some(sealed) => {
                    if sealed.seq == 1 && report.head.count > 0 {
                        report.head = chain.start();
                    }
                    hold(&mut report, &chain, line, &sealed);
                    let own = Head {
                        count: sealed.seq,
                        code: sealed.code,
                    };
                    missing.retain(|head| *head != own);
                }
            },
        }
    }
    report.heads += (heads.len() - missing.len()) as u64;
    for head in missing {
        hold_head(&mut report, head);
    }
    Ok(report)
}

/// Holds a head against the lines before it.
fn hold_head(report: &mut Report, head: Head) {
    let last = report.head.count;
    report.heads += 1;
    match head.count {
        count if count > last => report.add(Finding::CutOff { last, head: count }),
        _ if head != report.head => report.add(Finding::OtherHead { head: head.count }),
        _ => {}
    }
}

/// What a line holds of an audit: as JSON, as text, or the audit's line alone.
fn find(line: &str) -> Found {
    if line.starts_with(LINE) {
        return Found::Line(line.to_owned());
    }
    if line.starts_with('{') {
        return match serde_json::from_str::<Value>(line) {
            Ok(event) if event["target"] == TARGET => of_event(&event),
            _ => Found::Nothing,
        };
    }
    of_text(line).unwrap_or(Found::Nothing)
}

fn of_event(event: &Value) -> Found {
    let text = |name: &str| event[name].as_str();
    match text("message") {
        Some(HEAD) if event.get("path").is_none() => {
            let head = text("head").and_then(|head| head.parse().ok());
            head.map_or(Found::Nothing, Found::Head)
        }
        Some(line) if line.starts_with(LINE) => Found::Line(line.to_owned()),
        _ => Found::Nothing,
    }
}

/// A line of text is time, level, target, message; others may have put something before it. One
/// that has a level before that is a line of somebody else who quotes ours.
fn of_text(line: &str) -> Option<Found> {
    let (before, rest) = line.split_once(" INFO oip::audit: ")?;
    let levels = [" ERROR ", " WARN ", " INFO ", " DEBUG ", " TRACE "];
    if levels.iter().any(|level| before.contains(level)) {
        return None;
    }
    if rest.starts_with(LINE) {
        return Some(Found::Line(rest.to_owned()));
    }
    let rest = rest.strip_prefix(HEAD)?.trim_start();
    let (head, rest) = rest.strip_prefix("head=")?.split_once(' ')?;
    // Of an audit in a file.
    if rest.contains("path=") {
        return None;
    }
    head.parse().ok().map(Found::Head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    fn key() -> Option<AuditKey> {
        Some(AuditKey::new(KEY).unwrap())
    }

    /// The lines of one run, and its head.
    fn run(lines: u64) -> (Vec<String>, Head) {
        let chain = Chain::new(key());
        let mut head = chain.start();
        let mut written = Vec::new();
        for seq in 1..=lines {
            let mut text = format!("{{\"seq\":{seq},\"subject\":\"a \\\"quoted\\\" one\"");
            let code = chain.code(&head.code, &text);
            chain.seal(&mut text, &code);
            head = Head { count: seq, code };
            written.push(text);
        }
        (written, head)
    }

    fn as_text(lines: &[String], head: Head) -> Vec<String> {
        let time = "2026-11-24T09:05:00.123456Z  INFO";
        let lines = lines
            .iter()
            .map(|line| format!("{time} oip::audit: {line}"));
        let head = format!("{time} oip::audit: audit head head={head} keyed=true");
        lines.chain([head]).collect()
    }

    fn as_json(lines: &[String], head: Head) -> Vec<String> {
        let event = |mut members: Value| {
            members["timestamp"] = "2026-11-24T09:05:00.123456Z".into();
            members["level"] = "INFO".into();
            members["target"] = TARGET.into();
            members.to_string()
        };
        let lines = lines
            .iter()
            .map(|line| event(serde_json::json!({ "message": line })));
        let head = serde_json::json!({"message": HEAD, "head": head.to_string(), "keyed": true});
        lines.chain([event(head)]).collect()
    }

    fn check(lines: &[String]) -> Report {
        verify_log(lines.join("\n").as_bytes(), key(), &[]).unwrap()
    }

    #[test]
    fn an_audit_is_found_in_a_log_of_either_form_and_what_is_missing_is_told() {
        let (lines, head) = run(5);
        for logged in [as_text(&lines, head), as_json(&lines, head)] {
            let mut log = vec!["oip is listening".to_owned()];
            log.extend(logged.clone());
            log.insert(
                3,
                "2026-11-24T09:05:00Z  INFO oip::server: loaded".to_owned(),
            );
            let report = check(&log);
            assert!(report.is_whole(), "{:?}", report.findings);
            assert_eq!((report.lines, report.head), (5, head));

            let mut gap = logged.clone();
            gap.remove(2);
            let missing = Finding::Missing {
                line: 3,
                from: 3,
                to: 3,
            };
            assert_eq!(check(&gap).findings, [missing]);

            let mut cut = logged.clone();
            cut.remove(4);
            assert_eq!(check(&cut).findings, [Finding::CutOff { last: 4, head: 5 }]);

            let changed: Vec<String> = logged.iter().map(|line| line.replace("a ", "b ")).collect();
            assert!(check(&changed).found >= 5);
        }
    }

    #[test]
    fn each_start_begins_a_chain_and_a_head_of_the_operators_is_looked_for_in_all() {
        let ((first, head), (second, other)) = (run(3), run(2));
        let mut log = as_text(&first, head);
        log.extend(as_text(&second, other));
        let text = log.join("\n");
        let verify = |head| verify_log(text.as_bytes(), key(), &[head]).unwrap();
        assert!(verify(head).is_whole() && verify(other).is_whole());
        let unknown = Head { count: 9, ..head };
        assert_eq!(
            verify(unknown).findings,
            [Finding::CutOff { last: 2, head: 9 }]
        );
    }

    #[test]
    fn a_line_that_quotes_ours_and_the_head_of_a_file_are_passed_over() {
        let (lines, head) = run(1);
        let own = &as_text(&lines, head)[0];
        for foreign in [
            format!("2026-11-24T09:05:00Z DEBUG oip::rest: refused {own}"),
            format!("2026-11-24T09:05:00Z  WARN oip::rest: {own}"),
            format!(
                "2026-11-24T09:05:00Z  INFO oip::audit: audit head head={head} path=\"/a\" keyed=true"
            ),
            serde_json::json!({"target": "oip::rest", "message": lines[0]}).to_string(),
        ] {
            let report = check(std::slice::from_ref(&foreign));
            assert_eq!((report.lines, report.found), (0, 0), "{foreign}");
        }
        // What a collector puts before a line does not hide it.
        assert_eq!(check(&[format!("oip-7 oip[12]: {own}")]).lines, 1);
        assert_eq!(check(&lines).lines, 1);
        let torn = &own[..own.len() - 5];
        assert_eq!(
            check(&[torn.to_owned()]).findings,
            [Finding::NotALine { line: 1 }]
        );
    }
}
