//! What is found without the key.

use super::super::chain::Code;
use super::*;

fn key() -> Option<AuditKey> {
    Some(AuditKey::new(&[7; 32]).unwrap())
}

/// Five lines, and the head after each.
fn five(key: Option<AuditKey>) -> (Vec<String>, Vec<Head>) {
    let chain = Chain::new(key);
    let mut before: Code = chain.start().code;
    let line = |count: u64| {
        let mut line = format!("{{\"seq\":{count},\"subject\":\"alice\"");
        before = chain.code(&before, &line);
        chain.seal(&mut line, &before);
        line.push('\n');
        let head = Head {
            count,
            code: before,
        };
        (line, head)
    };
    (1..=5).map(line).unzip()
}

fn keyless(lines: &[String], head: Option<Head>) -> Report {
    verify(lines.concat().as_bytes(), None, head.as_slice()).unwrap()
}

#[test]
fn without_the_key_a_whole_audit_has_no_findings_and_it_is_said_that_no_code_was_compared() {
    let (lines, heads) = five(key());
    let report = keyless(&lines, heads.last().copied());
    assert!(report.is_whole() && report.sealed, "{:?}", report.findings);
    assert_ne!(report.verdict(), "the audit is whole");
    let note = report.without_key().unwrap();
    assert!(note.contains("not given (--key-file)"), "{note}");
}

#[test]
fn without_the_key_what_is_missing_moved_torn_or_cut_off_is_found_and_a_change_is_not() {
    let (lines, heads) = five(key());
    let found = |lines: &[String]| keyless(lines, None).findings;

    let mut other = lines.clone();
    other[2] = other[2].replace("alice", "malice");
    assert_eq!(found(&other), []);

    let mut other = lines.clone();
    other.remove(2);
    let (line, from, to) = (3, 3, 3);
    assert_eq!(found(&other), [Finding::Missing { line, from, to }]);

    let mut other = lines.clone();
    other.insert(3, lines[1].clone());
    assert_eq!(found(&other), [Finding::OutOfOrder { line: 4, seq: 2 }]);

    let mut other = lines.clone();
    other[4] = other[4][..30].to_owned();
    assert_eq!(found(&other), [Finding::NotALine { line: 5 }]);

    let cut = keyless(&lines[..3], heads.last().copied());
    assert_eq!(cut.findings, [Finding::CutOff { last: 3, head: 5 }]);
    let anew = Head {
        count: 5,
        code: [1; 32],
    };
    let anew = keyless(&lines, Some(anew));
    assert_eq!(anew.findings, [Finding::OtherHead { head: 5 }]);
}

#[test]
fn a_line_that_is_sealed_another_way_than_the_first_is_found_without_the_key() {
    for (first, then) in [(key(), None), (None, key())] {
        let (mut lines, _) = five(first);
        lines[3] = five(then).0[3].clone();
        let report = keyless(&lines, None);
        let expected = Finding::OtherSeal { line: 4, seq: 4 };
        assert!(report.findings.contains(&expected), "{:?}", report.findings);
    }
}

#[test]
fn the_head_before_the_first_line_is_no_other_head_for_want_of_the_key() {
    let (lines, _) = five(key());
    let start = Some(Chain::new(key()).start());
    assert!(keyless(&lines, start).is_whole());
    let with_key = verify(lines.concat().as_bytes(), key(), start.as_slice()).unwrap();
    assert_eq!(with_key.findings, []);
    assert_eq!(with_key.without_key(), None);
}

#[test]
fn an_empty_file_has_no_lines_and_is_not_called_whole() {
    assert_eq!(verify(&b""[..], key(), &[]).unwrap().verdict(), "no lines");
    assert_eq!(keyless(&[], None).verdict(), "no lines");
    let plain = keyless(&five(None).0, None);
    assert_eq!(plain.verdict(), "the audit is whole");
    assert!(plain.without_key().unwrap().contains("accidents alone"));
}
