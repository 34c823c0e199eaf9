//! That no step which writes lacks a place where the process may die in a test. It reads the flows' own
//! source, so that a step which somebody adds is found by itself. That a death at each place changes
//! nothing is tested in `crash`.

use std::collections::BTreeMap;
use std::path::Path;

use licentia::fail_point::{ALL, BACKFILL};

/// What writes: here, at Stripe, or into somebody's mailbox.
const WRITES: [&str; 7] = [
    ".commit()",
    ".create_customer(",
    ".update_customer(",
    ".create_session(",
    ".expire_session(",
    ".cancel_subscription(",
    ".mailer.send(",
];

/// Where the same name is a statement of a transaction, not a call to Stripe.
const STATEMENT: &str = "tx.update_customer(";

/// The functions that write and are no step from sign-up to mail, and why each needs no place.
const NO_STEP_OF_A_SALE: [(&str, &[&str], &str); 10] = [
    ("account", &["update", "delete_here"], "one transaction; what follows from it is a task"),
    ("admin", &["create", "revoke", "permit"], "one transaction, and nothing follows"),
    ("backfill", &["create"], "its command has places of its own"),
    ("counterpart", &["adopt", "close"], "of the backfill; of a deletion, which is begun anew"),
    ("events", &["replay"], "one transaction; the worker finds what it wrote"),
    ("import", &["customers"], "all or nothing, and begun anew"),
    ("license", &["grant", "revoke_key", "renew", "fresh"], "one transaction each"),
    ("mail", &["send_test"], "writes nothing here"),
    ("reconcile", &["note", "missed"], "what was not noted is compared again"),
    ("session", &["login", "end"], "one transaction, and nothing follows"),
];

/// A function of a file of the flows.
struct Function {
    file: String,
    name: String,
    source: String,
}

impl Function {
    fn count(&self, text: &str) -> usize {
        self.source.matches(text).count()
    }

    fn writes(&self) -> usize {
        WRITES.iter().map(|write| self.count(write)).sum::<usize>() - self.count(STATEMENT)
    }

    fn exempt(&self) -> bool {
        let exempt = NO_STEP_OF_A_SALE.iter().filter(|(file, ..)| *file == self.file);
        exempt.flat_map(|(_, names, _)| *names).any(|name| *name == self.name)
    }
}

/// The name of the function that begins on this line, if one does.
fn begins(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split([' ', '(', '<']);
    let head = |word: &&str| matches!(*word, "pub" | "super)" | "crate)" | "async" | "const");
    let keyword = words.find(|word| !head(word))?;
    words.next().filter(|_| keyword == "fn")
}

fn functions() -> Vec<Function> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/flows");
    let mut functions: Vec<Function> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut inside = false;
        for line in std::fs::read_to_string(path).unwrap().lines() {
            if let Some(name) = begins(line) {
                let (file, name) = (file.clone(), name.to_owned());
                functions.push(Function { file, name, source: String::new() });
                inside = true;
            }
            if let (true, Some(function)) = (inside, functions.last_mut()) {
                function.source.push_str(line);
                function.source.push('\n');
            }
        }
    }
    functions
}

#[test]
fn every_step_that_writes_has_a_fail_point() {
    let functions = functions();
    let lacking = functions.iter().filter(|function| !function.exempt());
    let lacking = lacking.filter(|function| function.writes() > function.count(".reach("));
    let lacking: Vec<_> = lacking.map(|f| format!("{}::{}", f.file, f.name)).collect();
    assert!(lacking.is_empty(), "these write more often than they reach a fail point: {lacking:?}");

    // The exceptions are about something, so that none outlives what it was made for.
    for (file, names, _) in NO_STEP_OF_A_SALE {
        for name in names {
            let there = functions.iter().find(|f| f.file == file && f.name == *name);
            assert!(there.is_some_and(|f| f.writes() > 0), "{file}::{name} writes nothing");
        }
    }
    for write in WRITES {
        assert!(functions.iter().any(|f| f.count(write) > 0), "nobody calls {write}");
    }
}

#[test]
fn every_fail_point_is_at_one_place_and_is_swept() {
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for function in functions() {
        for (place, _) in function.source.match_indices(".reach(") {
            let call = &function.source[place..];
            let call = &call[..call.find(");").unwrap()];
            for name in call.split('"').skip(1).step_by(2) {
                *reached.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    let mut expected: Vec<_> = ALL.into_iter().chain(BACKFILL).collect();
    expected.sort_unstable();
    assert_eq!(reached.keys().collect::<Vec<_>>(), expected);
    let twice: Vec<_> = reached.iter().filter(|(_, places)| **places > 1).collect();
    assert!(twice.is_empty(), "each has a name of its own: {twice:?}");
}
