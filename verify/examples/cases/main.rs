//! Runs cases of the test vectors, to compare verifiers of different languages.
//!
//! ```text
//! cargo run -p licentia-verify --example cases -- vectors verify/vectors
//! cargo run -p licentia-verify --example cases -- verdict < cases.jsonl
//! ```
//!
//! `vectors` runs every file of a folder, and stops at the first difference. `verdict` reads one
//! case a line, and writes its verdict as one line.

mod run;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["vectors", folder] => match run::folder(Path::new(folder)) {
            Ok(count) => {
                println!("{count} cases passed");
                ExitCode::SUCCESS
            }
            Err(difference) => {
                eprintln!("{difference}");
                ExitCode::FAILURE
            }
        },
        ["verdict"] => match verdicts() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: cases vectors FOLDER | cases verdict < CASES");
            ExitCode::from(2)
        }
    }
}

/// Writes the verdict on each line of standard input.
fn verdicts() -> std::io::Result<()> {
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let case = serde_json::from_slice::<Value>(&line).map_err(|error| error.to_string());
        let verdict = case.and_then(|case| run::verdict(&case));
        let verdict = verdict.unwrap_or_else(|error| json!({ "error": error }));
        writeln!(output, "{verdict}")?;
        // A program may wait for this line before it writes the next case.
        output.flush()?;
    }
    Ok(())
}
