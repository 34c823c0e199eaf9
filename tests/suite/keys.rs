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
    let place = Installation::new(&[]).await;
    let kid = place.start().await.unwrap().keys.jwks().keys[0].kid.clone();
    assert_eq!((mode(&place.keys()), mode(&place.key_file())), (0o700, 0o600));
    let again = place.start().await.unwrap();
    assert_eq!(again.keys.jwks().keys.len(), 1);
    assert_eq!(again.keys.jwks().keys[0].kid, kid);
}

#[tokio::test]
async fn a_key_directory_from_git_is_made_private_with_its_first_key() {
    let place = Installation::new(&[]).await;
    fs::create_dir(place.keys()).unwrap();
    fs::write(place.keys().join("README.md"), "about keys").unwrap();
    fs::set_permissions(place.keys(), Permissions::from_mode(0o755)).unwrap();
    place.start().await.unwrap();
    assert_eq!(mode(&place.keys()), 0o700);
}

#[tokio::test]
async fn loose_file_modes_stop_the_start_with_the_command_that_repairs_them_security_7() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    let file = place.key_file();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains(&format!("chmod 600 {}", file.display())), "{refusal}");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(place.keys(), Permissions::from_mode(0o755)).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains(&format!("chmod 700 {}", place.keys().display())), "{refusal}");
}

#[tokio::test]
async fn a_lost_or_damaged_key_is_never_replaced_once_licenses_exist_security_7() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    issue_a_license(&app).await;
    let file = place.key_file();
    let whole = fs::read_to_string(&file).unwrap();

    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("is damaged") && refusal.contains("backup"), "{refusal}");

    fs::remove_file(&file).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("licenses were issued: restore"), "{refusal}");
    assert!(refusal.contains("the next start then names the keys to revoke"), "{refusal}");
    assert!(place.key_files().is_empty(), "a key was made silently");

    // Another key does not replace the one that the field needs.
    KeyRing::generate(&place.config, SystemClock.now(), &Random::from_system().unwrap()).unwrap();
    let refusal = place.refusal().await;
    assert!(
        refusal.contains("keys of licenses in the field are missing")
            && refusal.contains(&app.keys.jwks().keys[0].kid)
    );

    fs::write(&file, whole).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    place.start().await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_stays_security_9() {
    let place = Installation::new(&[]).await;
    let now = SystemClock.now();
    let random = Random::from_system().unwrap();
    KeyRing::generate(&place.config, now, &random).unwrap();
    KeyRing::generate(&place.config, now + TimeDelta::seconds(86_400), &random).unwrap();
    let ring = KeyRing::load(&place.config).unwrap().unwrap();
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
    let place = Installation::new(&secret).await;
    place.start().await.unwrap();
    let pem = fs::read_to_string(place.key_file()).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{pem}");
    place.start().await.unwrap();

    let mut without = place.config.clone();
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
    let place = Installation::new(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    let app = place.start().await.unwrap();
    assert!(!place.keys().exists(), "a key file was made");
    let now = SystemClock.now();
    assert_eq!(app.keys.signing(now).unwrap().file, None);

    KeyRing::generate(&place.config, now, &Random::from_system().unwrap()).unwrap();
    let ring = KeyRing::load(&place.config).unwrap().unwrap();
    assert_eq!((ring.jwks().keys.len(), &ring.signing(now).file), (2, &None));
    // The same key twice is a mistake.
    fs::write(place.key_file(), &pem).unwrap();
    let error = KeyRing::load(&place.config).err().unwrap().to_string();
    assert!(error.contains("has a key that is given twice"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_key_is_named() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    let misnamed = place.keys().join("my-key.pem");
    fs::copy(place.key_file(), &misnamed).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("my-key.pem is not named after the time"), "{refusal}");
    fs::rename(&misnamed, place.keys().join("20200101T000000Z.pem")).unwrap();
    assert!(place.refusal().await.contains("has a key that is given twice"));
}

#[tokio::test]
async fn a_temporary_file_left_by_a_kill_is_no_key() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    fs::write(place.keys().join("20301120T150000Z.tmp"), "-----BEGIN PRIV").unwrap();
    assert_eq!(place.start().await.unwrap().keys.jwks().keys.len(), 1);
}

#[tokio::test]
async fn a_key_id_may_begin_with_a_hyphen() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    let revoke = run(licentia(place.directory.path())
        .args(["keys", "revoke", "-W8m-BFxeJXJmk2rRpV2dlgfcbwrk8vIA3wtEZAbEx"])
        .env("LICENTIA_DATABASE_URL", url));
    assert_eq!(revoke.code, 1);
    assert!(revoke.err.contains("no key \"-W8m"), "{}", revoke.err);
}

#[tokio::test]
async fn every_problem_with_keys_is_reported_at_once() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    fs::write(place.keys().join("mine.pem"), "no key").unwrap();
    fs::write(place.keys().join("20300101T000000Z.pem"), "no key").unwrap();
    for path in [place.key_file(), place.keys()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let refusal = place.refusal().await;
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
    let place = Installation::new(&[]).await;
    fs::create_dir(place.keys()).unwrap();
    fs::write(place.keys().join("holiday.jpg"), "").unwrap();
    fs::set_permissions(place.keys(), Permissions::from_mode(0o755)).unwrap();
    let refusal = place.refusal().await;
    assert!(refusal.contains("chmod 700"), "{refusal}");
    assert_eq!(mode(&place.keys()), 0o755);
}

#[tokio::test]
async fn of_many_keys_created_in_the_same_second_one_is_complete() {
    let place = Installation::new(&[]).await;
    let now = SystemClock.now();
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    KeyRing::generate(&place.config, now, &Random::from_system().unwrap())
                })
            })
            .collect();
        let made = makers.into_iter().map(|maker| maker.join().unwrap());
        assert_eq!(made.filter(|made| made.is_ok()).count(), 1);
    });
    assert_eq!(fs::read_dir(place.keys()).unwrap().count(), 1, "a temporary file stayed");
    assert_eq!(KeyRing::load(&place.config).unwrap().unwrap().jwks().keys.len(), 1);
}

#[tokio::test]
async fn of_many_first_starts_on_one_directory_one_creates_the_key() {
    let place = Installation::new(&[]).await;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let random = Random::from_system().unwrap();
                KeyRing::generate_first(&place.config, SystemClock.now(), &random).unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(place.keys()).unwrap().count(), 1);
}

#[tokio::test]
async fn openssl_reads_our_keys_and_we_read_those_of_openssl() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    let mut openssl = std::process::Command::new("openssl");
    let read = run(openssl.args(["pkey", "-noout", "-text", "-in"]).arg(place.key_file()));
    assert!(read.out.contains("ED25519 Private-Key"), "{}", read.err);

    let theirs = place.keys().join("20300101T000000Z.pem");
    let mut openssl = std::process::Command::new("openssl");
    let made = run(openssl.args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&theirs));
    assert_eq!(made.code, 0, "{}", made.err);
    fs::set_permissions(&theirs, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.start().await.unwrap().keys.jwks().keys.len(), 2);
}

const DAY: i64 = 86_400;

#[tokio::test]
async fn the_first_key_of_a_fast_clock_signs_until_the_next_one_and_never_again() {
    for ahead in [3600, 365 * DAY] {
        let place = Installation::new(&[]).await;
        let now = SystemClock.now();
        let app = place.start_at(At(now + TimeDelta::seconds(ahead))).await.unwrap();
        issue_a_license(&app).await;
        let first = place.signing(now);
        // The clock is corrected. The key signs, and its name has the new time.
        place.start_at(At(now)).await.unwrap();
        assert_eq!(place.signing(now), first);
        let ring = KeyRing::load(&place.config).unwrap().unwrap();
        assert_eq!(ring.signing(now).named_time, now, "{ahead} s ahead");

        let second = place.add_key(now, false);
        assert_eq!(place.signing(now + TimeDelta::seconds(DAY - 1)), first);
        for later in [DAY, ahead, ahead + DAY, 3 * 365 * DAY] {
            let signs = if later < DAY { &first } else { &second };
            assert_eq!(
                place.signing(now + TimeDelta::seconds(later)),
                *signs,
                "{ahead} s ahead, {later} s later"
            );
        }
    }
}

#[tokio::test]
async fn the_newest_key_signs_despite_names_from_a_fast_clock() {
    for at_once in [false, true] {
        let place = Installation::new(&[]).await;
        let now = SystemClock.now();
        let first = place.add_key(now + TimeDelta::seconds(-30 * DAY), false);
        let ahead = [365, 200, 400]
            .map(|days| place.add_key(now + TimeDelta::seconds(days * DAY), at_once));
        assert_eq!(place.signing(now), first);
        let newest = place.add_key(now, at_once);
        for days in [1, 2, 201, 366, 402, 3650] {
            assert_eq!(
                place.signing(now + TimeDelta::seconds(days * DAY)),
                newest,
                "{days} days later"
            );
        }
        // No key is lost: all licenses verify.
        let ring = KeyRing::load(&place.config).unwrap().unwrap();
        let published: Vec<_> = ring.jwks().keys.into_iter().map(|key| key.kid).collect();
        assert!(ahead.iter().all(|kid| published.contains(kid)) && published.len() == 5);
        assert_eq!(place.signing(now), if at_once { newest } else { first });
    }
}

#[tokio::test]
async fn a_slow_clock_does_not_change_which_key_signs() {
    let place = Installation::new(&[]).await;
    let now = SystemClock.now();
    let random = Random::from_system().unwrap();
    for days in [-60, -30, 1] {
        KeyRing::generate(&place.config, now + TimeDelta::seconds(days * DAY), &random).unwrap();
    }
    let times = [-365, -60, -59, -30, 0, 1, 365].map(|days| now + TimeDelta::seconds(days * DAY));
    let before = times.map(|at| place.signing(at));
    for behind in [365, 20_000] {
        place.start_at(At(now + TimeDelta::seconds(-behind * DAY))).await.unwrap();
        assert_eq!(times.map(|at| place.signing(at)), before, "{behind} days behind");
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
