//! `docs/coverage.md` and the router say the same.

use std::collections::BTreeSet;

use vitascope_server::http::route_list;

/// Routes that are ours alone.
const OURS: usize = 32;

#[test]
fn the_coverage_table_is_the_router() {
    let table = include_str!("../../../../docs/coverage.md");
    let mut documented = BTreeSet::new();
    for line in table.lines().filter(|l| l.starts_with("| ") && l.contains('`')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (method, path) = cells[1].split_once(' ').expect("a method and a path");
        documented.insert((cells[2].to_owned(), method.to_owned(), path.trim_matches('`').to_owned()));
    }
    let routes = route_list();
    let mut actual = BTreeSet::new();
    for (state, list) in [("done", &routes.built[..]), ("501", routes.unbuilt)] {
        actual.extend(list.iter().map(|(m, p)| (state.to_owned(), (*m).to_owned(), (*p).to_owned())));
    }
    let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| a.difference(b).cloned().collect::<Vec<(String, String, String)>>();
    assert_eq!(only(&documented, &actual), [], "documented, but not so");
    assert_eq!(only(&actual, &documented), [], "so, but not documented");
    let done = routes.built.len() - OURS;
    assert!(
        table.contains(&format!("{done} of {} operations are done.", done + routes.unbuilt.len())),
        "the count is {done}"
    );
}
