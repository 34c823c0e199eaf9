//! The templates of mails: the built-in ones, and a vendor's in their place. The first line of a
//! kind's `.txt` is the subject, and the rest is the text; its `.html` extends `layout.html`.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, escape_formatter};

use super::Letter;
use super::facts::Facts;
use super::kind::{Case, Kind, LAYOUT, built_in};
use super::language::Language;
use super::samples;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::license::LicenseFile;
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTemplate {
    /// Its name, like `en/trial.txt`.
    pub name: String,
    /// The line of the mistake, from 1.
    pub line: Option<usize>,
    /// The mistake.
    pub problem: String,
}

impl InvalidTemplate {
    fn new(name: impl Into<String>, line: usize, problem: impl Into<String>) -> Self {
        Self { name: name.into(), line: Some(line), problem: problem.into() }
    }

    /// Returns the mistake in the template that an error names, or else in `name`.
    fn of(error: &Error, name: &str) -> Self {
        let mut innermost = error;
        // A mistake in an included template is the source of the error in the including one.
        while let Some(inner) = std::error::Error::source(innermost)
            && let Some(inner) = inner.downcast_ref::<Error>()
        {
            innermost = inner;
        }
        let problem = match innermost.detail() {
            Some(detail) => format!("{}: {detail}", innermost.kind()),
            None => innermost.kind().to_string(),
        };
        let name = innermost.name().unwrap_or(name).to_owned();
        Self { name, line: innermost.line(), problem }
    }
}

impl fmt::Display for InvalidTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if let Some(line) = self.line {
            write!(formatter, ", line {line}")?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

impl std::error::Error for InvalidTemplate {}

/// Returns the name and the text of every built-in template. A name is like `en/trial.txt`.
pub fn built_in_templates() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_languages = Language::ALL.into_iter().flat_map(built_in).copied();
    std::iter::once(LAYOUT).chain(of_languages)
}

/// All templates, parsed. Clones share them.
#[derive(Clone)]
pub struct Templates(Environment<'static>);

impl Templates {
    /// Returns the built-in templates, with a vendor's in place of those of the same name. Each is
    /// a name and a text.
    ///
    /// # Errors
    /// Every template that does not parse.
    pub fn new(
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<InvalidTemplate>> {
        let mut environment = Environment::new();
        // A line with only a tag leaves nothing behind, so texts stay readable.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        if let Ok(syntax) = syntax {
            environment.set_syntax(syntax);
        }
        // A misspelled name is an error, not an empty text.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_formatter(|out, state, value| match value.as_str() {
            _ if value.is_none() => Ok(()),
            Some(text) if matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe() => {
                Ok(out.write_str(&escaped(text))?)
            }
            _ => escape_formatter(out, state, value),
        });
        let mut invalid = Vec::new();
        for (name, text) in built_in_templates() {
            if let Err(error) = environment.add_template(name, text) {
                invalid.push(InvalidTemplate::of(&error, name));
            }
        }
        for (name, text) in overrides {
            if let Err(error) = environment.add_template_owned(name.clone(), text) {
                invalid.push(InvalidTemplate::of(&error, &name));
            }
        }
        if invalid.is_empty() { Ok(Self(environment)) } else { Err(invalid) }
    }

    /// Returns the mail with these facts.
    ///
    /// # Errors
    /// When a template cannot be rendered. [`Self::check`] finds that out at the start.
    pub fn write(&self, facts: &Facts<'_>) -> Result<Letter, InvalidTemplate> {
        let of_kind = |ending| format!("{}/{}.{ending}", facts.language, facts.kind);
        let name = of_kind("txt");
        let text = self.render(&name, facts, "")?;
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        let subject = subject.trim();
        if subject.is_empty() {
            return Err(InvalidTemplate::new(
                name,
                1,
                "the first line is the subject; it is empty",
            ));
        }
        let text = text.trim_matches(['\r', '\n']);
        Ok(Letter {
            html: self.render(&of_kind("html"), facts, subject)?,
            subject: subject.to_owned(),
            text: format!("{text}\n"),
            license: facts.token.map(str::to_owned),
            license_file: facts
                .token
                .map(|license| LicenseFile { license, keys: facts.keys, status: facts.status })
                .map(|file| file.to_text()),
        })
    }

    fn render(
        &self,
        name: &str,
        facts: &Facts<'_>,
        subject: &str,
    ) -> Result<String, InvalidTemplate> {
        let template = self.0.get_template(name);
        let rendered = template.and_then(|template| template.render(facts.context(subject)));
        rendered.map_err(|error| InvalidTemplate::of(&error, name))
    }

    /// Renders every mail with made-up facts. Returns what is wrong: templates that cannot be
    /// rendered, and mails without the link that they are sent for.
    #[must_use]
    pub fn check(&self, catalog: &Catalog, now: Timestamp) -> Vec<InvalidTemplate> {
        let mut invalid = Vec::new();
        for facts in samples::all(catalog, now) {
            let problems = match self.write(&facts) {
                Ok(letter) => missing_links(&facts, &letter),
                Err(problem) => vec![problem],
            };
            for problem in problems {
                if !invalid.contains(&problem) {
                    invalid.push(problem);
                }
            }
        }
        invalid
    }

    /// Returns a mail with made-up facts.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn preview(
        &self,
        (kind, case): (Kind, Case),
        language: Language,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<Letter, InvalidTemplate> {
        self.write(&samples::facts(kind, case, language, catalog, now))
    }
}

/// Returns a text for HTML and its quoted attributes. minijinja would also escape the slashes of
/// URLs.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#x27;"),
            other => html.push(other),
        }
    }
    html
}

/// Returns the templates that leave out a link without which the mail is pointless.
fn missing_links(facts: &Facts<'_>, letter: &Letter) -> Vec<InvalidTemplate> {
    let needed = facts.links.made.iter().filter(|(kind, _)| *kind != LinkKind::Portal);
    let parts = [("txt", &letter.text), ("html", &letter.html)];
    needed
        .flat_map(|(kind, url)| {
            parts.iter().filter_map(move |(ending, text)| {
                let name = format!("{}/{}.{ending}", facts.language, facts.kind);
                let problem = format!("the mail needs the link {{{{ links.{kind} }}}}");
                (!text.contains(url)).then(|| InvalidTemplate::new(name, 1, problem))
            })
        })
        .collect()
}
