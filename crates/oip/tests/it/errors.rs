//! The table of outcomes, as the documentation prints it.

use oip::ErrorKind;

#[test]
fn the_documentation_lists_every_outcome_with_both_codes() {
    let page = include_str!("../../../../docs/errors.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for kind in ErrorKind::ALL {
        let name = format!("{kind:?}");
        let row = rows.iter().find(|row| row[1] == name);
        let row = row.unwrap_or_else(|| panic!("{name} is not in docs/errors.md"));
        assert_eq!(row[2], kind.http_status().to_string(), "{name}");
        assert_eq!(row[3], kind.grpc_name(), "{name}");
    }
}
