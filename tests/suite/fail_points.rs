//! That no step which writes lacks a place where the process may die in a test: between each write and
//! what comes next there is one. It reads the product's own source, so that a step which somebody adds is
//! found by itself. That a death at each place changes nothing is tested in `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use licentia::fail_point::{ALL, BACKFILL};

/// What writes here, or into somebody's mailbox. What writes at Stripe, Stripe's own files say.
const WRITES: [&str; 2] = [".commit(", ".mailer.send("];

/// What `src/stripe` writes with.
const CALLS: [&str; 4] = ["self.post(", "self.post::<", "self.delete(", "self.delete::<"];

/// Where the same name is a statement of a transaction, not a call to Stripe.
const TRANSACTION: &str = "tx";

/// The functions that write and are no step from sign-up to mail, and why each needs no place.
const NO_STEP_OF_A_SALE: [(&str, &[&str], &str); 12] = [
    ("account", &["update", "delete_here"], "one transaction; what follows from it is a task"),
    ("admin", &["create", "revoke", "permit"], "one transaction, and nothing follows"),
    ("backfill", &["create"], "its command has places of its own"),
    ("counterpart", &["adopt", "close"], "of the backfill; of a deletion, which is begun anew"),
    ("events", &["replay"], "one transaction; the worker finds what it wrote"),
    ("import", &["customers"], "all or nothing, and begun anew"),
    ("license", &["grant", "revoke_key", "renew", "fresh"], "one transaction each"),
    ("mail", &["send_test", "retry_given_up"], "writes nothing here; a command that is begun anew"),
    ("reconcile", &["note", "missed"], "what was not noted is compared again"),
    ("session", &["login", "end"], "one transaction, and nothing follows"),
    ("setup", &["endpoint"], "one call, of a command that is begun anew"),
    ("subscription", &["portal"], "one call, which makes what nobody keeps"),
];

/// A function of a file, without its comments and what its literals say.
struct Function {
    file: String,
    name: String,
    body: String,
}

impl Function {
    fn exempt(&self) -> bool {
        let exempt = NO_STEP_OF_A_SALE.iter().filter(|(file, ..)| *file == self.file);
        exempt.flat_map(|(_, names, _)| *names).any(|name| *name == self.name)
    }

    /// Where each write begins, and where its arguments do, by those names and by those of [`WRITES`].
    fn writes(&self, names: &[String]) -> Vec<(usize, usize)> {
        let found = names.iter().flat_map(|name| self.body.match_indices(name.as_str()));
        let at_stripe = found.filter(|(at, _)| !self.body[..*at].ends_with(TRANSACTION));
        let at_stripe = at_stripe.map(|(at, name)| (at, at + name.len()));
        let here = WRITES.iter().flat_map(|name| self.body.match_indices(name));
        let mut all: Vec<_> =
            here.map(|(at, name)| (at, at + name.len())).chain(at_stripe).collect();
        all.sort_unstable();
        all
    }

    /// The writes after which something else comes before a place to die.
    fn unguarded(&self, names: &[String]) -> Vec<String> {
        let (writes, blocks) = (self.writes(names), blocks(&self.body));
        let open = writes.iter().filter(|(_, end)| !is_guarded(&self.body, *end, &writes, &blocks));
        open.map(|(at, end)| {
            let line = self.body[..*at].rfind('\n').map_or(0, |line| line + 1);
            format!("{}::{}: {}", self.file, self.name, self.body[line..*end].trim())
        })
        .collect()
    }
}

/// A block: where its braces are, and whether its parts exclude each other.
struct Block {
    open: usize,
    close: usize,
    is_match: bool,
}

fn blocks(body: &str) -> Vec<Block> {
    let (mut open, mut blocks) = (Vec::new(), Vec::new());
    for (at, letter) in body.char_indices() {
        match letter {
            '{' => open.push(at),
            '}' => {
                let open = open.pop().expect("braces are in pairs");
                let head = body[..open].rsplit([';', '{', '}']).next().unwrap();
                blocks.push(Block { open, close: at, is_match: head.contains("match ") });
            }
            _ => {}
        }
    }
    blocks
}

/// Whether what comes after a write, whose arguments begin at `at`, is a place to die: before another write,
/// a success and the function's end. What is only done instead of the write is left out.
fn is_guarded(body: &str, mut at: usize, writes: &[(usize, usize)], blocks: &[Block]) -> bool {
    let around = |at: usize| {
        let around = blocks.iter().filter(|block| block.open < at && at < block.close);
        around.max_by_key(|block| block.open)
    };
    let (start, mut parentheses) = (around(at).map(|block| block.open), 1);
    let mut inside = start;
    while at < body.len() {
        let rest = &body[at..];
        if rest.starts_with(".reach(") {
            return true;
        }
        let succeeds = rest.starts_with("return ") && !rest.starts_with("return Err(");
        if succeeds || writes.iter().any(|(write, _)| *write == at) {
            return false;
        }
        match rest.as_bytes()[0] {
            b'(' => parentheses += 1,
            b')' => parentheses -= 1,
            b',' if parentheses <= 0
                && around(at).is_some_and(|b| b.is_match && Some(b.open) == inside) =>
            {
                at = around(at).unwrap().close;
                continue;
            }
            b'}' if around(at + 1).is_none_or(|b| inside.is_some_and(|open| b.open < open)) => {
                let Some(outer) = around(at + 1) else { return false };
                inside = Some(outer.open);
                if outer.is_match {
                    at = outer.close;
                    continue;
                }
                at = after_alternatives(body, at + 1, blocks);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Past every `else` that follows.
fn after_alternatives(body: &str, mut at: usize, blocks: &[Block]) -> usize {
    while body[at..].trim_start().starts_with("else ") {
        let open = at + body[at..].find('{').unwrap();
        at = blocks.iter().find(|block| block.open == open).unwrap().close + 1;
    }
    at
}

/// The source without comments, and with empty literals, so that every brace and name is code.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut letters = source.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '/' if letters.peek() == Some(&'/') => {
                letters.by_ref().find(|letter| *letter == '\n');
                code.push('\n');
            }
            '"' => {
                while let Some(inner) = letters.next().filter(|letter| *letter != '"') {
                    if inner == '\\' {
                        letters.next();
                    }
                }
                code.push_str("\"\"");
            }
            '\'' => {
                let ahead: Vec<_> = letters.clone().take(3).collect();
                match *ahead {
                    ['\\', _, '\''] => drop(letters.by_ref().nth(2)),
                    [_, '\'', ..] => drop(letters.by_ref().nth(1)),
                    // A lifetime.
                    _ => {}
                }
            }
            _ => code.push(letter),
        }
    }
    code
}

/// The name of the function that begins on this line, if one does.
fn begins(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split([' ', '(', '<']);
    let head = |word: &&str| matches!(*word, "pub" | "super)" | "crate)" | "async" | "const");
    let keyword = words.find(|word| !head(word))?;
    words.next().filter(|_| keyword == "fn")
}

fn functions_of(file: &str, source: &str) -> Vec<Function> {
    let code = code(source);
    let mut at = 0;
    let mut functions = Vec::new();
    for line in code.split_inclusive('\n') {
        if let Some(name) = begins(line)
            && let Some(open) = code[at..].find('{')
        {
            let from = &code[at + open..];
            let mut depth = 0;
            let end = from.char_indices().find(|(_, letter)| {
                depth += i32::from(*letter == '{') - i32::from(*letter == '}');
                depth == 0
            });
            let body = from[..=end.unwrap().0].to_owned();
            functions.push(Function { file: file.to_owned(), name: name.to_owned(), body });
        }
        at += line.len();
    }
    functions
}

/// Every source file in a folder, or the file that it is.
fn files(path: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    match std::fs::read_dir(&path) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![path],
    }
}

fn functions(paths: &[&str]) -> Vec<Function> {
    let files = paths.iter().flat_map(|path| files(path));
    let of_file = files.flat_map(|path| {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        functions_of(&file, &std::fs::read_to_string(path).unwrap())
    });
    of_file.collect()
}

/// What is called to write at Stripe: everything that posts or deletes there.
fn writes_at_stripe() -> Vec<String> {
    let functions = functions(&["src/stripe.rs", "src/stripe"]);
    let writing = functions.iter().filter(|f| CALLS.iter().any(|call| f.body.contains(call)));
    let names: BTreeSet<_> = writing.map(|f| format!(".{}(", f.name)).collect();
    names.into_iter().collect()
}

/// What is called to write here without a transaction around it: every statement that changes something and
/// can be called at the store itself.
fn writes_in_one_statement() -> Vec<String> {
    let writing = functions(&["src/store"]).into_iter();
    let writing = writing.filter(|f| f.body.contains("execute"));
    writing.map(|f| format!(".store.{}(", f.name)).collect()
}

/// Where a step of a sale may be.
const STEPS: [&str; 3] = ["src/flows", "src/worker.rs", "src/http"];

#[test]
fn after_every_write_there_is_a_fail_point_before_anything_else() {
    let (functions, at_stripe) = (functions(&STEPS), writes_at_stripe());
    assert!(at_stripe.len() >= 9, "what writes at Stripe is not found: {at_stripe:?}");
    let lone = writes_in_one_statement();
    let release = ".store.release_lease(".to_owned();
    assert!(lone.contains(&release), "what writes without a transaction is not found: {lone:?}");
    let calls: Vec<_> = at_stripe.iter().cloned().chain(lone).collect();
    let steps = functions.iter().filter(|function| !function.exempt());
    let open: Vec<_> = steps.flat_map(|function| function.unguarded(&calls)).collect();
    assert!(
        open.is_empty(),
        "no fail point stands between these writes and what follows: {open:#?}"
    );

    // The exceptions are about something, so that none outlives what it was made for.
    for (file, names, _) in NO_STEP_OF_A_SALE {
        for name in names {
            let there = functions.iter().find(|f| f.file == file && f.name == *name);
            let open = there.map(|f| f.unguarded(&calls));
            assert!(open.is_some_and(|open| !open.is_empty()), "{file}::{name} is no exception");
        }
    }
    for write in at_stripe.iter().chain([&release]).map(String::as_str).chain(WRITES) {
        assert!(functions.iter().any(|f| f.body.contains(write)), "nobody calls {write}");
    }
}

#[test]
fn a_write_without_a_fail_point_is_found() {
    let found = |body: &str| {
        let source = format!("pub async fn step(app: &App) -> Result<()> {{\n{body}\n}}\n");
        let [function] = functions_of("file", &source).try_into().ok().unwrap();
        function.unguarded(&[".create_customer(".to_owned()]).len()
    };
    let commit = "tx.commit().await?;";
    let reach = "app.fail_points.reach(\"here\");";
    // There are as many places as writes, and a second commit passes none.
    assert_eq!(found(&format!("{reach} {commit} {reach} {commit} Ok(())")), 1);
    assert_eq!(found(&format!("{commit} {commit} {reach} {reach} Ok(())")), 1);
    assert_eq!(found(&format!("{commit} {reach} {commit} {reach} Ok(())")), 0);
    assert_eq!(found("tx.commit().await"), 1);
    assert_eq!(found(&format!("{commit} // {reach}\n Ok(())")), 1);
    // A success on the way does not come by.
    assert_eq!(found(&format!("{commit} if done {{ return Ok(()); }} {reach} Ok(())")), 1);
    assert_eq!(found(&format!("{commit} if bad {{ return Err(bad); }} {reach} Ok(())")), 0);
    // What is done instead of the write does not count: neither for it nor against it.
    assert_eq!(found(&format!("if new {{ {commit} }} else {{ {reach} }} Ok(())")), 1);
    assert_eq!(found(&format!("if new {{ {commit} }} else {{ return Ok(()); }} {reach}")), 0);
    let tried = "let made = match parameters { Some(p) => stripe.create_customer(p, 1).await,";
    assert_eq!(found(&format!("{tried} None => return Ok(()) }}; {reach} Ok(())")), 0);
    assert_eq!(found(&format!("{tried} None => {{ {reach} }} }}; Ok(())")), 1);
    assert_eq!(found(&format!("{tried} None => x }}; {commit} {reach} Ok(())")), 1);
    // The mailbox writes as well; a statement of that name does not.
    assert_eq!(found("app.mailer.send(mail).await; Ok(())"), 1);
    assert_eq!(found("tx.create_customer(customer).await; Ok(())"), 0);
}

#[test]
fn every_fail_point_is_at_one_place_and_is_swept() {
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for file in STEPS.iter().flat_map(|path| files(path)) {
        let source = std::fs::read_to_string(file).unwrap();
        for (place, _) in source.match_indices(".reach(") {
            let call = &source[place..];
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
