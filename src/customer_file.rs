//! Reads a CSV file of customers (RFC 4180, UTF-8), and reports all problems at once. The import is
//! in [`crate::flows::account::import`].

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::path::Path;
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord};

use crate::domain::contact::Newcomer;
use crate::error::{Error, Result};
use crate::files::read_text;

/// The largest file, in bytes: [`MAX_ROWS`] with room to spare.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// The most rows in one file, valid or not: they are held in memory. More customers need several
/// files.
const MAX_ROWS: usize = 100_000;

/// The most problems that are kept and shown; further ones are only counted.
const MAX_PROBLEMS: usize = 100;

/// The columns; the first is required.
pub const COLUMNS: [&str; 5] =
    ["email", "name", "company_name", "stripe_customer_id", "email_verified"];

/// The content of a file.
#[derive(Debug, Default)]
pub struct CustomerFile {
    /// The valid rows, each with its line number.
    pub rows: Vec<(u64, Newcomer)>,
    /// The problems of the other rows.
    pub problems: Problems,
}

/// The problems of a file: the first ones, and the number of further ones.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    more: usize,
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        for problem in problems {
            if self.kept.len() < MAX_PROBLEMS {
                self.kept.push(problem);
            } else {
                self.more += 1;
            }
        }
    }
}

impl Problems {
    /// Checks that there are no problems.
    ///
    /// # Errors
    /// [`Error::Setup`] with the problems in the order of their lines.
    pub fn none(mut self) -> Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        self.kept.sort_by_key(|problem| problem.line);
        let mut problems: Vec<_> =
            self.kept.iter().map(|Problem { line, text }| format!("line {line}: {text}")).collect();
        if self.more > 0 {
            problems.push(format!("… and {} more", self.more));
        }
        problems.push("no customer was imported; correct the file and run this again".to_owned());
        Err(Error::Setup(problems))
    }
}

/// A problem with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    line: u64,
    text: String,
}

impl Problem {
    /// Returns a problem with this line.
    pub fn new(line: u64, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// Reads the file at `path`.
///
/// # Errors
/// [`Error::Setup`] when the file cannot be read, is not CSV, has too many rows, or its first line
/// does not name the columns.
pub fn load(path: &Path) -> Result<CustomerFile> {
    let text = read_text(path, MAX_FILE_BYTES).map_err(|problem| {
        Error::setup(format!("{} cannot be read as CSV in UTF-8: {problem}", path.display()))
    })?;
    parse(&text)
}

/// Reads the text of a file.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str) -> Result<CustomerFile> {
    // Spreadsheets write a byte order mark before the first column's name.
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default();
    // Spreadsheets write semicolons in locales whose decimal separator is the comma.
    let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| Error::setup(format!("this is not CSV: {error}"));
    let columns = columns(reader.headers().map_err(unreadable)?)?;
    let (mut file, mut lines) = (CustomerFile::default(), Lines { text, at: 0, line: 1 });
    for (number, record) in reader.records().enumerate() {
        if number == MAX_ROWS {
            return Err(Error::setup(format!(
                "the file has more than {MAX_ROWS} customers; import several smaller ones"
            )));
        }
        let record = record.map_err(unreadable)?;
        let line = lines.of(&record);
        match row(&columns, &record) {
            Ok(newcomer) => file.rows.push((line, newcomer)),
            Err(problems) => {
                file.problems.extend(problems.into_iter().map(|text| Problem::new(line, text)));
            }
        }
    }
    file.problems.extend(duplicates(&file.rows, "email", |row| Some(&row.email)));
    let stripe_ids = duplicates(&file.rows, COLUMNS[3], |row| row.stripe_customer_id.as_ref());
    file.problems.extend(stripe_ids);
    Ok(file)
}

/// Counts lines. The CSV reader's own number is the line of the line end before the record.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// Returns the line on which a record begins. Records must come in order.
    fn of(&mut self, record: &StringRecord) -> u64 {
        let start = record.position().map_or(0, csv::Position::byte);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.text.as_bytes().get(self.at..start + ends).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = start + ends;
        self.line
    }
}

/// Returns the columns that the first line names.
fn columns(header: &StringRecord) -> Result<Vec<&'static str>> {
    let (mut columns, mut problems) = (Vec::new(), Vec::new());
    for name in header {
        let name = name.trim().to_lowercase();
        let known = COLUMNS.into_iter().find(|column| *column == name);
        match known {
            Some(column) if columns.contains(&column) => {
                problems.push(format!("line 1: there are two columns {column:?}"));
            }
            Some(column) => columns.push(column),
            None => {
                let similarity = |column: &&str| strsim::jaro_winkler(column, &name);
                let nearest =
                    COLUMNS.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
                let hint = nearest.filter(|column| similarity(column) > 0.8);
                let hint = hint
                    .map_or("remove it".to_owned(), |column| format!("did you mean {column:?}?"));
                problems.push(format!("line 1: there is no column {name:?}; {hint}"));
            }
        }
    }
    if !columns.contains(&COLUMNS[0]) {
        problems.push("line 1: the column \"email\" is missing".to_owned());
    }
    if problems.is_empty() {
        return Ok(columns);
    }
    problems.push(format!("the first line must name the columns: {}", COLUMNS.join(",")));
    Err(Error::Setup(problems))
}

/// Returns the customer of a row, or all problems of the row.
fn row(
    columns: &[&'static str],
    record: &StringRecord,
) -> std::result::Result<Newcomer, Vec<String>> {
    if record.len() != columns.len() {
        let (found, expected) = (record.len(), columns.len());
        return Err(vec![format!(
            "it has {found} fields instead of {expected}; put values with a comma or a quote in \
             quotes"
        )]);
    }
    let mut problems = Vec::new();
    let text = |column: &str| {
        let index = columns.iter().position(|known| *known == column)?;
        record.get(index).map(|text| text.trim_matches(' ')).filter(|text| !text.is_empty())
    };
    let email = parsed(text(COLUMNS[0]).or(Some("")), COLUMNS[0], &mut problems);
    let name = parsed(text("name"), "name", &mut problems);
    let company_name = parsed(text("company_name"), "company_name", &mut problems);
    let stripe_customer_id =
        parsed(text("stripe_customer_id"), "stripe_customer_id", &mut problems);
    let email_verified = if columns.contains(&"email_verified") {
        let text = text("email_verified").unwrap_or_default();
        parsed(Some(text), "email_verified", &mut problems).is_some_and(|YesNo(yes)| yes)
    } else {
        true
    };
    match email {
        Some(email) if problems.is_empty() => {
            Ok(Newcomer { email, email_verified, name, company_name, stripe_customer_id })
        }
        _ => Err(problems),
    }
}

/// Returns the parsed value, if there is one. Adds a problem if it is invalid.
fn parsed<T: FromStr<Err: Display>>(
    text: Option<&str>,
    column: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    match text?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("`{column}`: {error}"));
            None
        }
    }
}

struct YesNo(bool);

impl FromStr for YesNo {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.to_lowercase().as_str() {
            "yes" | "true" | "1" => Ok(Self(true)),
            "no" | "false" | "0" => Ok(Self(false)),
            _ => Err("use yes or no"),
        }
    }
}

/// Returns a problem for every value that an earlier row has too.
fn duplicates<'a, T: Eq + Hash + 'a>(
    rows: &'a [(u64, Newcomer)],
    column: &'a str,
    value: impl Fn(&'a Newcomer) -> Option<&'a T>,
) -> impl Iterator<Item = Problem> {
    let mut seen = HashMap::new();
    rows.iter().filter_map(move |(line, row)| {
        let first = seen.insert(value(row)?, *line)?;
        Some(Problem::new(*line, format!("`{column}`: line {first} has the same value")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match parse(text).map(|file| file.problems.none()) {
            Ok(Err(Error::Setup(mut problems))) => {
                problems.pop();
                problems
            }
            Err(Error::Setup(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        let plain = "email,name\nada@example.com,\"Lovelace, Ada\"\n";
        for text in [
            plain.to_owned(),
            format!("\u{FEFF}{plain}"),
            plain.replace('\n', "\r\n"),
            "Email ;NAME\nADA@example.com;Lovelace, Ada".to_owned(),
            "name,email\n\"Lovelace, Ada\", ada@example.com \n\n".to_owned(),
        ] {
            let file = parse(&text).unwrap();
            assert_eq!(file.rows.len(), 1, "{text}");
            file.problems.none().unwrap();
            let (line, row) = &file.rows[0];
            assert_eq!((*line, row.email.as_str()), (2, "ada@example.com"));
            assert_eq!(row.name.as_ref().unwrap().as_str(), "Lovelace, Ada");
            assert!(row.email_verified && row.company_name.is_none());
        }
        assert!(parse("email\n").unwrap().rows.is_empty());
    }

    #[test]
    fn a_text_that_would_be_a_formula_is_kept_as_a_text_security_21() {
        let file = parse("email,name\nada@example.com,\"=HYPERLINK(\"\"x\"\")\"\n").unwrap();
        assert_eq!(file.rows[0].1.name.as_ref().unwrap().as_str(), "=HYPERLINK(\"x\")");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let reported = problems(
            "email,name,stripe_customer_id,email_verified\n\
             ada@example.com,Ada,cus_1,yes\n\
             nobody,\"two\nlines\",sub_1,perhaps\n\
             ,,,\n\
             bob@example.com\n\
             \r\n\
             ADA@example.com,,cus_1,no\n",
        );
        let expected = [
            "line 3: `email`: this is not an email address",
            "line 3: `name`: it has a line break",
            "line 3: `stripe_customer_id`: an id of this kind begins with \"cus_\"",
            "line 3: `email_verified`: use yes or no",
            "line 5: `email`: this is not an email address",
            "line 5: `email_verified`: use yes or no",
            "line 6: it has 1 fields instead of 4",
            "line 8: `email`: line 2 has the same",
            "line 8: `stripe_customer_id`: line 2 has the same",
        ];
        assert_eq!(reported.len(), expected.len(), "{reported:#?}");
        for (reported, expected) in reported.iter().zip(expected) {
            assert!(reported.starts_with(expected), "{reported}\nis not\n{expected}");
        }
    }

    #[test]
    fn a_first_line_that_names_no_columns_is_told_with_those_there_are() {
        let reported = problems("ada@example.com,Ada\n").join("\n");
        assert!(reported.contains("no column \"ada@example.com\"; remove it"), "{reported}");
        assert!(reported.contains("the column \"email\" is missing"), "{reported}");
        assert!(reported.contains("email,name,company_name,stripe_customer_id,email_verified"));
        let reported = problems("email,compnay_name,email\n").join("\n");
        assert!(reported.contains("did you mean \"company_name\"?"), "{reported}");
        assert!(reported.contains("two columns \"email\""), "{reported}");
        assert!(problems("").join("\n").contains("is missing"));
    }

    #[test]
    fn a_file_of_mistakes_is_not_told_in_full() {
        let reported = problems(&format!("email\n{}", "nobody\n".repeat(1000)));
        assert_eq!((reported.len(), reported[100].as_str()), (101, "… and 900 more"));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_to_its_end_whatever_it_says() {
        for row in ["a@example.com\n", "x\n", "a,b,c\n"] {
            let many = format!("email\n{}", row.repeat(MAX_ROWS + 1));
            let reported = problems(&many);
            assert_eq!(reported.len(), 1, "{reported:#?}");
            assert!(reported[0].contains("more than 100000 customers"), "{reported:#?}");
        }
        let full = format!("email\n{}", "x\n".repeat(MAX_ROWS));
        let file = parse(&full).unwrap();
        assert_eq!(file.problems.kept.len(), MAX_PROBLEMS);
        assert_eq!(file.problems.kept.len() + file.problems.more, MAX_ROWS);
    }
}
