//! Signing keys on disk: created once, private, never replaced silently, rotated by adding one.
//! Revocation is in `key_revocation.rs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::config::Config;
use licentia::domain::account::password::Password;
use licentia::domain::time::Timestamp;
use licentia::keys::{KeyRing, KeyState};
use licentia::random::Random;

use crate::harness::process::{licentia, run};
use crate::harness::{TestDatabase, config};

pub struct Installation {
    pub directory: tempfile::TempDir,
    pub config: Config,
}

impl Installation {
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::new(directory.path()).await;
        let config = config(directory.path(), &database, settings);
        Self { directory, config }
    }

    pub async fn start(&self) -> licentia::error::Result<App> {
        self.start_at(SystemClock).await
    }

    pub async fn start_at(&self, clock: impl Clock + 'static) -> licentia::error::Result<App> {
        App::start(&self.config, Arc::new(clock), Random::from_system().unwrap()).await
    }

    /// Creates the newest key at this time. Returns its id.
    fn add_key(&self, now: Timestamp, at_once: bool) -> String {
        let random = Random::from_system().unwrap();
        let (file, _) = KeyRing::add(&self.config, now, at_once, &random).unwrap();
        let ring = KeyRing::load(&self.config).unwrap().unwrap();
        let mut states = ring.states(now);
        states.find(|(key, _)| key.file.as_ref() == Some(&file)).unwrap().0.kid.clone()
    }

    /// Returns the id of the key that signs at this time.
    fn signing(&self, now: Timestamp) -> String {
        KeyRing::load(&self.config).unwrap().unwrap().signing(now).kid.clone()
    }

    async fn refusal(&self) -> String {
        self.start().await.err().expect("it started").to_string()
    }

    pub fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    pub fn key_file(&self) -> PathBuf {
        self.key_files().pop().unwrap()
    }

    /// Returns the files of the signing keys, oldest first.
    fn key_files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.keys()).unwrap().map(|entry| entry.unwrap().path());
        let is_key = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "pem");
        let mut files: Vec<_> = files.filter(is_key).collect();
        files.sort();
        files
    }
}

/// A stopped clock.
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub async fn issue_a_license(app: &App) {
    let signup = licentia::flows::account::signup::Signup {
        email: "ada@example.com".parse().unwrap(),
        password: Password::new("SecurePass123".into()),
        name: None,
        company_name: None,
        language: None,
    };
    licentia::flows::account::signup::signup(app, signup, None).await.unwrap();
}

#[tokio::test]
async fn the_first_start_creates_one_private_key_and_the_next_uses_it_security_7() {
    let installation = Installation::new(&[]).await;
    let kid = installation.start().await.unwrap().keys.jwks().keys[0].kid.clone();
    assert_eq!((mode(&installation.keys()), mode(&installation.key_file())), (0o700, 0o600));
    let again = installation.start().await.unwrap();
    assert_eq!(again.keys.jwks().keys.len(), 1);
    assert_eq!(again.keys.jwks().keys[0].kid, kid);
}

#[tokio::test]
async fn a_key_directory_from_git_is_made_private_with_its_first_key() {
    let installation = Installation::new(&[]).await;
    fs::create_dir(installation.keys()).unwrap();
    fs::write(installation.keys().join("README.md"), "about keys").unwrap();
    fs::set_permissions(installation.keys(), Permissions::from_mode(0o755)).unwrap();
    installation.start().await.unwrap();
    assert_eq!(mode(&installation.keys()), 0o700);
}

#[tokio::test]
async fn loose_file_modes_stop_the_start_with_the_command_that_repairs_them_security_7() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    let file = installation.key_file();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains(&format!("chmod 600 {}", file.display())), "{refusal}");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(installation.keys(), Permissions::from_mode(0o755)).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains(&format!("chmod 700 {}", installation.keys().display())), "{refusal}");
}

#[tokio::test]
async fn a_lost_or_damaged_key_is_never_replaced_once_licenses_exist_security_7() {
    let installation = Installation::new(&[]).await;
    let app = installation.start().await.unwrap();
    issue_a_license(&app).await;
    let file = installation.key_file();
    let whole = fs::read_to_string(&file).unwrap();

    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains("is damaged") && refusal.contains("backup"), "{refusal}");

    fs::remove_file(&file).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains("licenses were issued: restore"), "{refusal}");
    let kid = &app.keys.jwks().keys[0].kid;
    assert!(refusal.contains("run `licentia keys revoke KID`") && refusal.contains(kid));
    // The file of a key that was revoked must not come back.
    let revoked = installation.keys().join("20200101T000000Z.revoked");
    fs::write(&revoked, &whole).unwrap();
    let refusal = installation.refusal().await;
    let except = format!("do not restore the key of {}", revoked.display());
    assert!(refusal.contains(&except), "{refusal}");
    fs::remove_file(&revoked).unwrap();
    assert!(installation.key_files().is_empty(), "a key was made silently");

    // Another key does not replace the one that the field needs.
    KeyRing::generate(&installation.config, SystemClock.now(), &Random::from_system().unwrap())
        .unwrap();
    let refusal = installation.refusal().await;
    assert!(
        refusal.contains("keys of licenses in the field are missing")
            && refusal.contains(&app.keys.jwks().keys[0].kid)
    );

    fs::write(&file, whole).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    installation.start().await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_stays_security_9() {
    let installation = Installation::new(&[]).await;
    let now = SystemClock.now();
    let random = Random::from_system().unwrap();
    KeyRing::generate(&installation.config, now, &random).unwrap();
    KeyRing::generate(&installation.config, now + TimeDelta::seconds(86_400), &random).unwrap();
    let ring = KeyRing::load(&installation.config).unwrap().unwrap();
    let states = |at: Timestamp| ring.states(at).map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(ring.jwks().keys.len(), 2);
    assert_eq!(states(now), [KeyState::Signing, KeyState::Next]);
    assert_eq!(states(now + TimeDelta::seconds(86_399)), [KeyState::Signing, KeyState::Next]);
    assert_eq!(states(now + TimeDelta::seconds(86_400)), [KeyState::Former, KeyState::Signing]);
    // A clock that is a year behind still signs, with the oldest key.
    assert_eq!(
        states(now + TimeDelta::seconds(-365 * 86_400)),
        [KeyState::Signing, KeyState::Next]
    );
}

#[tokio::test]
async fn an_encrypted_key_needs_its_passphrase_security_8() {
    let secret = [("LICENTIA_KEYS_PASSPHRASE", "correct horse battery staple")];
    let installation = Installation::new(&secret).await;
    installation.start().await.unwrap();
    let pem = fs::read_to_string(installation.key_file()).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{pem}");
    installation.start().await.unwrap();

    let mut without = installation.config.clone();
    without.keys_passphrase = None;
    let error = KeyRing::load(&without).err().unwrap().to_string();
    assert!(error.contains("is encrypted; set LICENTIA_KEYS_PASSPHRASE"), "{error}");
    without.keys_passphrase = Some("wrong".into());
    let error = KeyRing::load(&without).err().unwrap().to_string();
    assert!(error.contains("cannot be decrypted with this passphrase"), "{error}");
}

#[tokio::test]
async fn a_key_from_the_environment_signs_and_files_stay_published_security_8() {
    let other = Installation::new(&[]).await;
    other.start().await.unwrap();
    let pem = fs::read_to_string(other.key_file()).unwrap();
    let installation = Installation::new(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    let app = installation.start().await.unwrap();
    assert!(!installation.keys().exists(), "a key file was made");
    let now = SystemClock.now();
    assert_eq!(app.keys.signing(now).unwrap().file, None);

    KeyRing::generate(&installation.config, now, &Random::from_system().unwrap()).unwrap();
    let ring = KeyRing::load(&installation.config).unwrap().unwrap();
    assert_eq!((ring.jwks().keys.len(), &ring.signing(now).file), (2, &None));
    // The same key twice is a mistake.
    fs::write(installation.key_file(), &pem).unwrap();
    let error = KeyRing::load(&installation.config).err().unwrap().to_string();
    assert!(error.contains("has a key that is given twice"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_key_is_named() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    let misnamed = installation.keys().join("my-key.pem");
    fs::copy(installation.key_file(), &misnamed).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains("my-key.pem is not named after the time"), "{refusal}");
    fs::rename(&misnamed, installation.keys().join("20200101T000000Z.pem")).unwrap();
    assert!(installation.refusal().await.contains("has a key that is given twice"));
}

#[tokio::test]
async fn a_temporary_file_left_by_a_kill_is_no_key() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    fs::write(installation.keys().join("20301120T150000Z.tmp"), "-----BEGIN PRIV").unwrap();
    assert_eq!(installation.start().await.unwrap().keys.jwks().keys.len(), 1);
}

#[tokio::test]
async fn a_key_id_may_begin_with_a_hyphen() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    let url = secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
    let revoke = run(licentia(installation.directory.path())
        .args(["keys", "revoke", "-W8m-BFxeJXJmk2rRpV2dlgfcbwrk8vIA3wtEZAbEx"])
        .env("LICENTIA_DATABASE_URL", url));
    assert_eq!(revoke.code, 1);
    assert!(revoke.err.contains("no key \"-W8m"), "{}", revoke.err);
}

#[tokio::test]
async fn every_problem_with_keys_is_reported_at_once() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    fs::write(installation.keys().join("mine.pem"), "no key").unwrap();
    fs::write(installation.keys().join("20300101T000000Z.pem"), "no key").unwrap();
    for path in [installation.key_file(), installation.keys()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let refusal = installation.refusal().await;
    for expected in [
        "chmod 700",
        "chmod 600",
        "mine.pem is not named after the time",
        "20300101T000000Z.pem has mode",
    ] {
        assert!(refusal.contains(expected), "{expected}\nis not in\n{refusal}");
    }
}

#[tokio::test]
async fn a_directory_for_other_files_is_not_made_private() {
    let installation = Installation::new(&[]).await;
    fs::create_dir(installation.keys()).unwrap();
    fs::write(installation.keys().join("holiday.jpg"), "").unwrap();
    fs::set_permissions(installation.keys(), Permissions::from_mode(0o755)).unwrap();
    let refusal = installation.refusal().await;
    assert!(refusal.contains("chmod 700"), "{refusal}");
    assert_eq!(mode(&installation.keys()), 0o755);
}

#[tokio::test]
async fn of_many_keys_created_in_the_same_second_one_is_complete() {
    let installation = Installation::new(&[]).await;
    let now = SystemClock.now();
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    KeyRing::generate(&installation.config, now, &Random::from_system().unwrap())
                })
            })
            .collect();
        let made = makers.into_iter().map(|maker| maker.join().unwrap());
        assert_eq!(made.filter(|made| made.is_ok()).count(), 1);
    });
    assert_eq!(fs::read_dir(installation.keys()).unwrap().count(), 1, "a temporary file stayed");
    assert_eq!(KeyRing::load(&installation.config).unwrap().unwrap().jwks().keys.len(), 1);
}

#[tokio::test]
async fn of_many_first_starts_on_one_directory_one_creates_the_key() {
    let installation = Installation::new(&[]).await;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let random = Random::from_system().unwrap();
                KeyRing::generate_first(&installation.config, SystemClock.now(), &random).unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(installation.keys()).unwrap().count(), 1);
}

#[tokio::test]
async fn openssl_reads_our_keys_and_we_read_those_of_openssl() {
    let installation = Installation::new(&[]).await;
    installation.start().await.unwrap();
    let mut openssl = std::process::Command::new("openssl");
    let read = run(openssl.args(["pkey", "-noout", "-text", "-in"]).arg(installation.key_file()));
    assert!(read.out.contains("ED25519 Private-Key"), "{}", read.err);

    let theirs = installation.keys().join("20300101T000000Z.pem");
    let mut openssl = std::process::Command::new("openssl");
    let made = run(openssl.args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&theirs));
    assert_eq!(made.code, 0, "{}", made.err);
    fs::set_permissions(&theirs, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(installation.start().await.unwrap().keys.jwks().keys.len(), 2);
}

const DAY: i64 = 86_400;

#[tokio::test]
async fn the_first_key_of_a_fast_clock_signs_until_the_next_one_and_never_again() {
    for ahead in [3600, 365 * DAY] {
        let installation = Installation::new(&[]).await;
        let now = SystemClock.now();
        let app = installation.start_at(At(now + TimeDelta::seconds(ahead))).await.unwrap();
        issue_a_license(&app).await;
        let first = installation.signing(now);
        // The clock is corrected. The key signs, and its name has the new time.
        installation.start_at(At(now)).await.unwrap();
        assert_eq!(installation.signing(now), first);
        let ring = KeyRing::load(&installation.config).unwrap().unwrap();
        assert_eq!(ring.signing(now).named_time, now, "{ahead} s ahead");

        let second = installation.add_key(now, false);
        assert_eq!(installation.signing(now + TimeDelta::seconds(DAY - 1)), first);
        for later in [DAY, ahead, ahead + DAY, 3 * 365 * DAY] {
            let signs = if later < DAY { &first } else { &second };
            assert_eq!(
                installation.signing(now + TimeDelta::seconds(later)),
                *signs,
                "{ahead} s ahead, {later} s later"
            );
        }
    }
}

#[tokio::test]
async fn the_newest_key_signs_despite_names_from_a_fast_clock() {
    for at_once in [false, true] {
        let installation = Installation::new(&[]).await;
        let now = SystemClock.now();
        let first = installation.add_key(now + TimeDelta::seconds(-30 * DAY), false);
        let ahead = [365, 200, 400]
            .map(|days| installation.add_key(now + TimeDelta::seconds(days * DAY), at_once));
        assert_eq!(installation.signing(now), first);
        let newest = installation.add_key(now, at_once);
        for days in [1, 2, 201, 366, 402, 3650] {
            assert_eq!(
                installation.signing(now + TimeDelta::seconds(days * DAY)),
                newest,
                "{days} days later"
            );
        }
        // No key is lost: all licenses verify.
        let ring = KeyRing::load(&installation.config).unwrap().unwrap();
        let published: Vec<_> = ring.jwks().keys.into_iter().map(|key| key.kid).collect();
        assert!(ahead.iter().all(|kid| published.contains(kid)) && published.len() == 5);
        assert_eq!(installation.signing(now), if at_once { newest } else { first });
    }
}

#[tokio::test]
async fn a_slow_clock_does_not_change_which_key_signs() {
    let installation = Installation::new(&[]).await;
    let now = SystemClock.now();
    let random = Random::from_system().unwrap();
    for days in [-60, -30, 1] {
        KeyRing::generate(&installation.config, now + TimeDelta::seconds(days * DAY), &random)
            .unwrap();
    }
    let times = [-365, -60, -59, -30, 0, 1, 365].map(|days| now + TimeDelta::seconds(days * DAY));
    let before = times.map(|at| installation.signing(at));
    for behind in [365, 20_000] {
        installation.start_at(At(now + TimeDelta::seconds(-behind * DAY))).await.unwrap();
        assert_eq!(times.map(|at| installation.signing(at)), before, "{behind} days behind");
    }
}

#[tokio::test]
async fn the_command_line_creates_and_lists_keys() {
    let directory = tempfile::tempdir().unwrap();
    let keys = |arguments: &[&str]| run(licentia(directory.path()).arg("keys").args(arguments));
    assert!(keys(&["list"]).out.contains("There are no keys in keys"));
    let made = keys(&["generate"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("Keep a backup"), "{}", made.out);
    let next = keys(&["generate"]);
    assert!(next.out.contains("publish it within a minute"), "{}{}", next.out, next.err);
    let list: serde_json::Value = serde_json::from_str(&keys(&["list", "--json"]).out).unwrap();
    assert_eq!(
        (&list["keys"][0]["state"], &list["keys"][1]["state"]),
        (&"signing".into(), &"next".into())
    );
    let text = keys(&["list"]).out;
    assert!(text.starts_with("signing  ") && text.contains("\nnext     "), "{text}");
}
