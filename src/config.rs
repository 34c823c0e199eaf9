//! The configuration: one documented struct, read and validated once from a TOML file and the
//! environment, which overrides the file. [`crate::settings`] reads single values.

mod email;
mod orchestrator;
mod origin;
mod stripe;
mod values;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use licentia_verify::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use crate::domain::account::signup::Verification;
use crate::domain::operator::webhook_target::Targets;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::settings::Section;

pub use email::{EmailConfig, Encryption, SmtpServer};
pub use origin::{Origin, ReturnOrigin};
pub use stripe::{CreateCustomer, StripeConfig, StripeMode};
pub use values::LogFormat;
use values::{AlgorithmName, Listen, LogFilter, Proxy};

/// The configuration file if no other is named. It may be missing.
pub const DEFAULT_FILE: &str = "licentia.toml";

/// The plans file if no other is named. It may be missing.
const DEFAULT_PLANS_FILE: &str = "plans.toml";

/// The prefix of environment variables. `__` separates levels.
const PREFIX: &str = "LICENTIA_";

/// The tables of settings within the configuration.
const LEVELS: &[&str] = &["stripe", "email", "signup", "webhooks"];

/// The secret settings. Each may also be read from a file: the variable is then named like the
/// setting with `_FILE`, and its value is the path.
const SECRETS: &[&str] = &[
    "database_url",
    "signing_key",
    "former_signing_keys",
    "keys_passphrase",
    "stripe.secret_key",
    "stripe.webhook_secret",
    "email.smtp_url",
];

/// The mode bit that lets everyone read a file.
const OTHERS_READ: u32 = 0o004;

/// The longest configuration file, in bytes: room for every setting with a page of comments.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The longest secret file, in bytes: an encrypted key in PEM has a few hundred.
const MAX_SECRET_FILE_BYTES: u64 = 16 * 1024;

/// All settings. Each field is the setting of the same name.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address and port on which the server listens. Default `127.0.0.1:3100`.
    pub listen: SocketAddr,
    /// The URL at which clients reach the server, without a path. Default `http://` and `listen`.
    pub public_url: Origin,
    /// Whether `public_url` was set. Otherwise it is the default.
    pub is_public_url_set: bool,
    /// `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. Default
    /// `sqlite://licentia.db`. A secret: it may contain a password.
    pub database_url: SecretString,
    /// The directory of the signing keys. Default `keys`.
    pub keys_dir: PathBuf,
    /// A signing key in PEM, in place of the newest one in `keys_dir`. A secret.
    pub signing_key: Option<SecretString>,
    /// The keys that were set as `signing_key` before, in PEM, one after another. They stay
    /// published, and the newest of them signs until the new key was announced. A secret.
    pub former_signing_keys: Option<SecretString>,
    /// The passphrase that decrypts existing keys and encrypts new ones. A secret.
    pub keys_passphrase: Option<SecretString>,
    /// The name of the signature algorithm in licenses: `EdDSA` (default) or `Ed25519` (RFC 9864).
    pub license_algorithm: Algorithm,
    /// Whether `license_algorithm` was set. Otherwise it is the default.
    pub is_license_algorithm_set: bool,
    /// The plans file. Default `plans.toml` if it exists, else built-in example plans.
    pub plans_file: Option<PathBuf>,
    /// The proxies (addresses or networks) whose `X-Forwarded-For` is trusted. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// The log filter, in the syntax of `RUST_LOG`. Default `info`.
    pub log: String,
    /// How the server writes its lines: `text` (default) or `json`.
    pub log_format: LogFormat,
    /// The address of a listener that serves only the metrics. Default none: `listen` serves them.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether a sign-up waits until its address is verified: `signup.verification`, `none`
    /// (default) or `required`.
    pub signup_verification: Verification,
    /// The mail server and the sender.
    pub email: EmailConfig,
    /// The Stripe account. Without one, nothing is sold.
    pub stripe: Option<StripeConfig>,
    /// The origins of web pages and apps that checkout and portal may return to, and that may call
    /// the API from a browser, besides `public_url`. Default none.
    pub return_origins: Vec<ReturnOrigin>,
    /// The setting `webhooks.allow_private`: whether outgoing webhooks may go to private addresses,
    /// and without TLS. Default no.
    pub webhook_targets: Targets,
}

impl Config {
    /// Reads the file and the environment. If `file` is `None`, `licentia.toml` is read if it
    /// exists.
    ///
    /// # Errors
    /// [`Error::Setup`] with every problem: unknown names, wrong values, unreadable files.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let (mut table, unreadable) = match read_file(file) {
            Ok(table) => (table, None),
            Err(problem) => (Table::new(), Some(problem)),
        };
        let (origins, wrong) = overlay(&mut table, environment);
        let mut root = Section::root(table, origins);
        let config = Self::read(&mut root);
        let of_settings = root.problems().into_iter().map(|problem| problem.to_string());
        let problems: Vec<_> = unreadable.into_iter().chain(wrong).chain(of_settings).collect();
        if problems.is_empty() { Ok(config) } else { Err(Error::Setup(problems)) }
    }

    /// Returns the log format, also if the rest of the configuration has problems: these are
    /// reported in that format.
    #[must_use]
    pub fn log_format(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> LogFormat {
        let mut table = read_file(file).unwrap_or_default();
        overlay(&mut table, environment);
        let format = table.get("log_format").and_then(Value::as_str);
        format.and_then(|format| format.parse().ok()).unwrap_or_default()
    }

    /// Returns a warning if the file contains secrets and others than its owner and group can read
    /// it (security_47).
    #[must_use]
    pub fn exposed(file: Option<&Path>) -> Option<String> {
        let table = read_file(file).ok()?;
        let has = |name: &&&str| {
            let mut parts = name.split('.');
            let first = table.get(parts.next().unwrap_or_default());
            parts.fold(first, |found, part| found?.get(part)).is_some()
        };
        let secrets: Vec<_> = SECRETS.iter().filter(has).copied().collect();
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        let is_exposed = mode & OTHERS_READ != 0 && !secrets.is_empty();
        is_exposed.then(|| {
            let (path, secrets) = (path.display(), secrets.join(", "));
            format!(
                "every user of this machine can read {secrets} in {path}; run: chmod 640 {path}, \
                 or if it is a mounted Secret, set `defaultMode: 0440` and the pod's `fsGroup`"
            )
        })
    }

    fn read(root: &mut Section) -> Self {
        let listen = root
            .parsed::<Listen>("listen")
            .map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 3100)), |listen| listen.0);
        let public_url = root.parsed("public_url");
        let is_public_url_set = public_url.is_some();
        let public_url = public_url.unwrap_or_else(|| Origin::of(listen));
        let algorithm = root.parsed::<AlgorithmName>("license_algorithm");
        let database_url = root.secret("database_url");
        let database_url = database_url.unwrap_or_else(|| "sqlite://licentia.db".into());
        let known = ["sqlite:", "postgres:", "postgresql:"];
        if !known.iter().any(|scheme| database_url.expose_secret().starts_with(scheme)) {
            root.problem("database_url", "use sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME");
        }
        let plans_file = root.text("plans_file").map(PathBuf::from);
        let existing = || Some(PathBuf::from(DEFAULT_PLANS_FILE)).filter(|path| path.exists());
        let mut signup = root.section("signup");
        let signup_verification = signup.parsed("verification").unwrap_or_default();
        signup.finish();
        let config = Self {
            listen,
            signup_verification,
            email: EmailConfig::read(root.section("email"), &public_url),
            public_url,
            is_public_url_set,
            database_url,
            keys_dir: root.text("keys_dir").map_or_else(|| "keys".into(), PathBuf::from),
            signing_key: root.secret("signing_key"),
            former_signing_keys: root.secret("former_signing_keys"),
            keys_passphrase: root.secret("keys_passphrase"),
            is_license_algorithm_set: algorithm.is_some(),
            license_algorithm: algorithm.map_or_else(Algorithm::default, |name| name.0),
            plans_file: plans_file.or_else(existing),
            trusted_proxies: root
                .list::<Proxy>("trusted_proxies")
                .into_iter()
                .map(|p| p.0)
                .collect(),
            log: root.parsed::<LogFilter>("log").map_or_else(|| "info".into(), |log| log.0),
            log_format: root.parsed("log_format").unwrap_or_default(),
            metrics_listen: root.parsed::<Listen>("metrics_listen").map(|listen| listen.0),
            stripe: StripeConfig::read(root.section("stripe")),
            return_origins: root.list("return_origins"),
            webhook_targets: webhook_targets(root.section("webhooks")),
        };
        root.finish();
        config
    }
}

fn webhook_targets(mut section: Section) -> Targets {
    let is_any = section.flag("allow_private").unwrap_or_default();
    section.finish();
    if is_any { Targets::Any } else { Targets::Public }
}

/// Returns the file's table, or the problem with the file. The problem never quotes a line, which
/// may contain a secret.
fn read_file(file: Option<&Path>) -> std::result::Result<Table, String> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    if file.is_none() && !path.exists() {
        return Ok(Table::new());
    }
    let shown = path.display();
    let text = read_text(path, MAX_FILE_BYTES)
        .map_err(|problem| format!("{shown} cannot be read: {problem}"))?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(&text));
        let line = before.matches('\n').count() + 1;
        format!("{shown}, line {line}: {}", error.message())
    })
}

/// Overrides the file's values by those of the environment. Returns the variable that each value
/// came from, and the problems.
fn overlay(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> (HashMap<String, String>, Vec<String>) {
    let mut origins = HashMap::new();
    let mut problems = Vec::new();
    let mut variables: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), name, value)))
        .collect();
    variables.sort();
    for (key, variable, value) in variables {
        // As in most programs, an empty variable counts as not set.
        if value.is_empty() || orchestrator::sets(&key, &value) {
            continue;
        }
        let level = LEVELS.iter().find(|level| key.starts_with(&format!("{level}_")));
        if let Some(level) = level.filter(|level| !key.starts_with(&format!("{level}__"))) {
            let rest = key.trim_start_matches(level).to_uppercase();
            let meant = format!("{PREFIX}{}_{rest}", level.to_uppercase());
            problems.push(format!(
                "`{variable}`: there is no such setting; levels are separated by two underscores: \
                 did you mean {meant} (`{level}.…`)?"
            ));
            continue;
        }
        let key = key.replace("__", ".");
        let (key, value) = match key.strip_suffix("_file").filter(|key| SECRETS.contains(key)) {
            None => (key, value),
            Some(secret) => match read_text(Path::new(&value), MAX_SECRET_FILE_BYTES) {
                Ok(content) if content.trim().is_empty() => {
                    problems.push(format!("`{secret}` ({variable}): this file is empty"));
                    continue;
                }
                Ok(content) => {
                    (secret.to_owned(), content.trim_end_matches(['\r', '\n']).to_owned())
                }
                Err(problem) => {
                    // The path is not shown: it may be the secret itself, set by mistake.
                    problems.push(format!("`{secret}` ({variable}): {problem}"));
                    continue;
                }
            },
        };
        if let Some(other) = origins.get(&key) {
            problems.push(format!("`{key}`: both {other} and {variable} are set; unset one"));
            continue;
        }
        if !set(table, &key, value) {
            problems.push(format!("`{key}` ({variable}): there is no such setting"));
        }
        origins.insert(key, variable);
    }
    (origins, problems)
}

/// Sets `a.b` in a table, and creates the tables in between. Returns false if `a` is a value, not a
/// table.
fn set(table: &mut Table, key: &str, value: String) -> bool {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), Value::String(value));
        return true;
    };
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().is_some_and(|inner| set(inner, rest, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config> {
        let pairs = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("licentia.toml");
        std::fs::write(&empty, "").unwrap();
        Config::load(Some(&empty), pairs.collect::<Vec<_>>())
    }

    fn problems(environment: &[(&str, &str)]) -> Vec<String> {
        match load(environment) {
            Err(Error::Setup(problems)) => problems,
            other => panic!("no problem was found: {other:?}"),
        }
    }

    #[test]
    fn every_setting_has_a_default() {
        let config = load(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:3100");
        assert_eq!(config.public_url.to_string(), "http://127.0.0.1:3100");
        assert_eq!(config.database_url.expose_secret(), "sqlite://licentia.db");
        assert_eq!(config.keys_dir, Path::new("keys"));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_fixes() {
        let found = problems(&[
            ("LICENTIA_LISTN", "127.0.0.1:1"),
            ("LICENTIA_PUBLIC_URL", "licenses.acme.example/path"),
            ("LICENTIA_DATABASE_URL", "mysql://root:hunter2@db/x"),
            ("LICENTIA_TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
            ("LICENTIA_LOG", "licentia=loud"),
            ("LICENTIA_STRIPE__SECRET_KEI", "x"),
            ("LICENTIA_SIGNING_KEY_FILE", "/nowhere/key.pem"),
        ]);
        let text = found.join("\n");
        assert_eq!(found.len(), 7, "{text}");
        for expected in [
            "`listn` (LICENTIA_LISTN): there is no such setting; did you mean `listen`?",
            "`public_url` (LICENTIA_PUBLIC_URL): \"licenses.acme.example/path\": use a URL",
            "`database_url` (LICENTIA_DATABASE_URL): use sqlite://FILE or postgres://",
            "`log` (LICENTIA_LOG): \"licentia=loud\": use a level",
            "`trusted_proxies` (LICENTIA_TRUSTED_PROXIES): \"proxy\": use an address",
            "`stripe.secret_kei` (LICENTIA_STRIPE__SECRET_KEI): there is no such setting; \
             did you mean `secret_key`?",
            "`signing_key` (LICENTIA_SIGNING_KEY_FILE): No such file",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
        assert!(!text.contains("hunter2"), "a secret is shown: {text}");
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        std::fs::write(&path, "postgres://db/licentia\n").unwrap();
        let file = path.to_str().unwrap();
        let config = load(&[("LICENTIA_DATABASE_URL_FILE", file)]).unwrap();
        assert_eq!(config.database_url.expose_secret(), "postgres://db/licentia");
        let both = [("LICENTIA_DATABASE_URL_FILE", file), ("LICENTIA_DATABASE_URL", "sqlite://x")];
        assert!(problems(&both)[0].contains("unset one"));
        assert!(!format!("{config:?}").contains("postgres://db"), "a secret is in Debug");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("licentia.toml");
        std::fs::write(&path, "listen = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.7\"]\n")
            .unwrap();
        let config = Config::load(Some(&path), Vec::new()).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:80");
        assert_eq!(config.trusted_proxies[0].to_string(), "10.0.0.7/32");
        let port = ("LICENTIA_LISTEN".to_owned(), "0.0.0.0:81".to_owned());
        assert_eq!(Config::load(Some(&path), [port]).unwrap().listen.to_string(), "0.0.0.0:81");
    }

    #[test]
    fn the_default_sender_is_at_the_public_host() {
        let from = |settings: &[(&str, &str)]| load(settings).unwrap().email.from.to_string();
        assert_eq!(from(&[]), "Licentia <licenses@localhost>");
        let url = ("LICENTIA_PUBLIC_URL", "https://licenses.acme.example");
        assert_eq!(from(&[url]), "Licentia <licenses@licenses.acme.example>");
        let set = ("LICENTIA_EMAIL__FROM", "Acme <sales@acme.example>");
        assert_eq!(from(&[url, set]), "Acme <sales@acme.example>");
        assert!(problems(&[("LICENTIA_EMAIL__FROM", "Acme")])[0].contains("use an address"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        let found = problems(&[
            ("LICENTIA_STRIPE", "sk_live_canary"),
            ("LICENTIA_LISTEN", "127.0.0.1:1"),
            ("LICENTIA_LISTEN__FOO", "canary"),
        ]);
        let text = found.join("\n");
        assert!(text.contains("`stripe` (LICENTIA_STRIPE): this is a table of settings"), "{text}");
        assert!(text.contains("LICENTIA_LISTEN__FOO"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn private_targets_of_webhooks_are_allowed_only_by_the_setting() {
        let targets = |settings: &[(&str, &str)]| load(settings).map(|set| set.webhook_targets);
        let name = "LICENTIA_WEBHOOKS__ALLOW_PRIVATE";
        assert_eq!(targets(&[]).unwrap(), Targets::Public);
        assert_eq!(targets(&[(name, "false")]).unwrap(), Targets::Public);
        assert_eq!(targets(&[(name, "true")]).unwrap(), Targets::Any);
        assert!(problems(&[(name, "yes")])[0].contains("true or false"));
        let misspelled = problems(&[("LICENTIA_WEBHOOKS_ALLOW_PRIVATE", "true")]);
        assert!(misspelled[0].contains(name), "{misspelled:?}");
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let config = load(&[("LICENTIA_KEYS_PASSPHRASE", ""), ("LICENTIA_TRUSTED_PROXIES", "")]);
        assert!(config.unwrap().keys_passphrase.is_none());
    }

    #[test]
    fn a_stripe_key_must_be_valid_and_have_the_configured_mode() {
        let set = |settings: &[(&str, &str)]| {
            let named =
                settings.iter().map(|(key, value)| (format!("LICENTIA_STRIPE__{key}"), *value));
            let named: Vec<_> = named.collect();
            let named: Vec<_> = named.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            load(&named).map_err(|error| error.to_string())
        };
        let mode = |key: &str| set(&[("SECRET_KEY", key)]).unwrap().stripe.unwrap().mode;
        assert_eq!(mode("sk_test_1"), StripeMode::Test);
        assert_eq!(mode("rk_live_1"), StripeMode::Live);
        for (settings, expected) in [
            (&[("SECRET_KEY", "pk_test_canary")][..], "use a Stripe API key"),
            (&[("SECRET_KEY", "sk_test_")], "use a Stripe API key"),
            (
                &[("SECRET_KEY", "sk_live_1"), ("MODE", "test")],
                "`mode` is test, but this is a live key",
            ),
            (&[("SECRET_KEY", "sk_test_1"), ("API_URL", "http://stripe.example")], "https:// URL"),
            (
                &[("SECRET_KEY", "sk_test_1"), ("WEBHOOK_SECRET", "whsec_1,,")],
                "one of the secrets is",
            ),
            (&[("WEBHOOK_SECRET", "whsec_1")], "`stripe.secret_key`: it is missing"),
        ] {
            let problem = set(settings).expect_err("no problem was found");
            assert!(problem.contains(expected), "{expected}\nis not in\n{problem}");
            assert!(!problem.contains("canary"), "a secret is shown: {problem}");
        }
    }

    #[test]
    fn one_underscore_instead_of_two_is_a_problem_with_a_hint() {
        let found = problems(&[("LICENTIA_STRIPE_SECRET_KEY", "sk_test_1")]);
        assert!(found[0].contains("did you mean LICENTIA_STRIPE__SECRET_KEY"), "{found:?}");
    }

    #[test]
    fn a_broken_file_shows_its_line_and_none_of_its_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("licentia.toml");
        std::fs::write(&path, "listen = \"[::]:1\"\ndatabase_url = \"postgres://u:hunter2@db")
            .unwrap();
        let bad = [("LICENTIA_LOG".to_owned(), "licentia=loud".to_owned())];
        let error = Config::load(Some(&path), bad).unwrap_err().to_string();
        assert!(error.contains("licentia.toml, line 2: "), "{error}");
        assert!(error.contains("`log`"), "the environment's problem is missing: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_broken_or_missing_file_is_named() {
        let missing = Config::load(Some(Path::new("/nowhere/licentia.toml")), Vec::new());
        assert!(missing.unwrap_err().to_string().contains("/nowhere/licentia.toml cannot be read"));
    }
}
