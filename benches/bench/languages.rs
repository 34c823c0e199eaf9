//! Verifications per second in the other languages, each next to a signature check alone in the
//! same language. Each verifier has a program that measures both; the Rust crate is in `main.rs`.

use std::path::Path;
use std::process::Command;

use crate::{Baseline, Better, Row};

/// A program that prints `license: N per second` and `signature alone: N per second`, or what
/// `go test -bench` prints.
struct Program {
    row: &'static str,
    baseline: &'static str,
    /// Its folder in `sdks`.
    folder: &'static str,
    command: &'static [&'static str],
    /// How to prepare it.
    needs: &'static str,
}

const PROGRAMS: [Program; 4] = [
    Program {
        row: "verify a license in Python",
        baseline: "a bare check of cryptography",
        folder: "python",
        command: &[".venv/bin/python", "-m", "tests.bench"],
        needs: "run sdks/test once",
    },
    Program {
        row: "verify a license in TypeScript",
        baseline: "a bare check of WebCrypto in Node",
        folder: "typescript",
        command: &["node", "test/bench.mjs"],
        needs: "run sdks/test once",
    },
    Program {
        row: "verify a license in Go",
        baseline: "a bare check of crypto/ed25519",
        folder: "go",
        command: &["go", "test", "-run", "^$", "-bench", "^Benchmark(License|Signature)$"],
        needs: "install Go",
    },
    Program {
        row: "verify a license in Java",
        baseline: "a bare check of the JDK",
        folder: "java",
        command: &["java", "-cp", "target/classes:target/test-classes", "dev.licentia.Bench"],
        needs: "run sdks/test once",
    },
];

/// Returns a row for each language whose program runs.
pub fn rows() -> Vec<Row> {
    PROGRAMS
        .iter()
        .filter_map(|program| program.row().map_err(|problem| say(&problem)).ok())
        .collect()
}

fn say(problem: &str) {
    eprintln!("not measured: {problem}");
}

impl Program {
    fn row(&self) -> Result<Row, String> {
        let problem = |reason: &str| format!("{}: {reason}; {}", self.row, self.needs);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks").join(self.folder);
        let [program, arguments @ ..] = self.command else { return Err(problem("no command")) };
        let output = Command::new(program).args(arguments).current_dir(folder).output();
        let output = output.map_err(|error| problem(&error.to_string()))?;
        if !output.status.success() {
            return Err(problem(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = |names: [&str; 2]| {
            let line = text.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
            line.and_then(per_second).ok_or_else(|| problem(&format!("it printed {text}")))
        };
        let value = rate(["license: ", "BenchmarkLicense"])?;
        let bare = rate(["signature alone: ", "BenchmarkSignature"])?;
        let baseline = Baseline { name: self.baseline, value: bare, ratio: value / bare };
        Ok(Row {
            name: self.row,
            value,
            unit: "/s",
            better: Better::More,
            baseline: Some(baseline),
        })
    }
}

/// Returns the rate in a line such as `license: 9000 per second`, or
/// `BenchmarkLicense-2 100 5 ns/op`.
fn per_second(line: &str) -> Option<f64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |unit| {
        let place = words.iter().position(|word| *word == unit)?;
        words.get(place.checked_sub(1)?)?.parse::<f64>().ok()
    };
    before("per").or_else(|| before("ns/op").map(|nanoseconds| 1e9 / nanoseconds))
}
