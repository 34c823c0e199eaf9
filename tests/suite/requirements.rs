//! docs/requirements.md and the tests agree: every number in a test's name is listed there, and
//! "(no test yet)" marks exactly the numbers without a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const KINDS: [&str; 4] = ["stripe", "security", "reliability", "license"];
const MARK: &str = "(no test yet)";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/requirements.md")).unwrap()
}

/// Returns the requirements of the page in order, each with whether it has the mark.
fn listed(page: &str) -> Vec<(String, bool)> {
    let items = page.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("** "));
    items.map(|(id, text)| (id.to_owned(), text.starts_with(MARK))).collect()
}

/// Returns the requirements in a test's name: `security_3` and `security_26` of `…_security_3_26`.
fn in_name(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut kind = None;
    for word in name.split('_') {
        let letter = kind == Some("reliability") && word.len() == 1;
        match kind {
            Some(kind) if letter || word.parse::<u8>().is_ok() => {
                found.push(format!("{kind}_{word}"))
            }
            _ => kind = KINDS.into_iter().find(|kind| *kind == word),
        }
    }
    found
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the requirements that any test of the workspace cites.
fn cited() -> BTreeSet<String> {
    let folders = ["src", "tests/suite", "sandbox", "sim", "verify/src", "verify/tests"];
    let files = folders.into_iter().flat_map(|folder| rust_files(&root().join(folder)));
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| text.lines().flat_map(names_of_functions).collect::<Vec<_>>()).collect()
}

fn names_of_functions(line: &str) -> Vec<String> {
    let name = line.trim_start().trim_start_matches("async ").strip_prefix("fn ");
    let name = name.and_then(|rest| rest.split(['(', '<']).next());
    name.map(in_name).unwrap_or_default()
}

#[test]
fn a_number_is_read_from_the_name_of_a_test() {
    assert_eq!(in_name("an_event_counts_once_stripe_8"), ["stripe_8"]);
    assert_eq!(in_name("no_key_opens_anything_security_3_26"), ["security_3", "security_26"]);
    assert_eq!(in_name("security_34_a_name_is_not_mailed"), ["security_34"]);
    assert_eq!(
        in_name("stripe_4_holds_reliability_a_c"),
        ["stripe_4", "reliability_a", "reliability_c"]
    );
    assert!(in_name("a_stripe_id_is_one_of_50_security_questions").is_empty());
}

#[test]
fn the_requirements_and_the_tests_agree() {
    let page = page();
    let listed = listed(&page);
    let ids: BTreeSet<_> = listed.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), listed.len(), "a requirement is listed twice");
    let cited = cited();
    let unknown: Vec<_> = cited.difference(&ids).collect();
    assert!(unknown.is_empty(), "tests cite {unknown:?}: add them to docs/requirements.md");
    let (marked, unmarked): (Vec<_>, Vec<_>) = listed.iter().partition(|(_, marked)| *marked);
    let outdated: Vec<_> = marked.iter().filter(|(id, _)| cited.contains(id)).collect();
    assert!(outdated.is_empty(), "these have a test now: remove \"{MARK}\" from {outdated:?}");
    let missing: Vec<_> = unmarked.iter().filter(|(id, _)| !cited.contains(id)).collect();
    assert!(missing.is_empty(), "no test cites these: add \"{MARK}\" to {missing:?}");
}

#[test]
fn the_numbers_have_no_gaps() {
    let page = page();
    let ids: Vec<_> = listed(&page).into_iter().map(|(id, _)| id).collect();
    let numbered = |kind: &str, first: u8, last: u8| {
        (first..=last).map(move |n| format!("{kind}_{n}")).collect()
    };
    let of_kind = |kind: &str| -> Vec<String> {
        ids.iter().filter(|id| id.starts_with(kind)).cloned().collect()
    };
    for (kind, first, last) in [("stripe", 1, 36), ("security", 1, 47), ("license", 0, 7)] {
        let expected: Vec<String> = numbered(kind, first, last);
        assert_eq!(of_kind(kind), expected);
    }
    let invariants: Vec<_> = ('a'..='g').map(|letter| format!("reliability_{letter}")).collect();
    assert_eq!(of_kind("reliability"), invariants);
}

#[test]
fn every_fault_names_its_tests() {
    let page = page();
    let table = page.split("| fault | tests |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let tests: Vec<_> = rows.filter_map(|row| row.split('|').nth(2)).map(str::trim).collect();
    assert!(!tests.is_empty());
    for named in tests.into_iter().filter(|named| *named != MARK) {
        for file in named.split(", ") {
            let file = root().join("tests/suite").join(file.trim_matches('`'));
            assert!(
                file.is_file(),
                "docs/requirements.md names {}, which is missing",
                file.display()
            );
        }
    }
}
