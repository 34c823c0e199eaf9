//! Revocation of signing keys by `licentia keys revoke`. Other tests of keys are in `keys.rs`.

use std::fs;

use licentia::domain::license::{Extras, IssuedLicense, LicenseToken};
use licentia::domain::operator::audit::Actor;
use licentia::error::Code;
use licentia::flows::license::{OnlineVerdict, refresh, status_list, verify};
use licentia::flows::mail;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::keys::ROOT_FILE;
use licentia_verify::{KeySet, Rejection};

use crate::harness::database::{execute, number};
use crate::harness::process::{licentia, run};
use crate::harness::rotation::{customer, issue, root_of, verdict};
use crate::keys::{Installation, issue_a_license};
use crate::status_lists::{bits_of, place as status_place};

#[tokio::test]
async fn a_lost_or_leaked_key_is_revoked_and_its_licenses_are_reissued_and_mailed() {
    for lost in [true, false] {
        let installation = Installation::new(&[]).await;
        let app = installation.start().await.unwrap();
        issue_a_license(&app).await;
        let kid = app.keys.jwks().keys[0].kid.clone();
        app.store.close().await;
        if lost {
            fs::remove_file(installation.key_file()).unwrap();
        }
        let url =
            secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
        let revoke = || {
            run(licentia(installation.directory.path())
                .args(["keys", "revoke", &kid])
                .env("LICENTIA_DATABASE_URL", &url))
        };
        let done = revoke();
        assert_eq!(done.code, 0, "{}", done.err);
        for part in ["Revoked 1 license of", "reissued 1", "Generated keys/", "which signs now"] {
            assert!(done.out.contains(part), "{part}\nis not in\n{}", done.out);
        }
        let again = revoke();
        assert_eq!(again.code, 0, "{}", again.err);
        let nothing = "was revoked before; the rest is done now. Revoked 0 licenses";
        assert!(again.out.contains(nothing), "{}", again.out);

        let known = app;
        let app = installation.start().await.unwrap();
        assert!(!app.keys.jwks().keys.iter().any(|key| key.kid == kid), "it is still published");
        let email = "ada@example.com".parse().unwrap();
        let mut tx = app.store.read().await.unwrap();
        let customer = tx.customer_by_email(&email).await.unwrap().unwrap();
        let license = tx.current_license(&customer.customer_id).await.unwrap().unwrap();
        assert_ne!(license.key_id, kid);
        assert_eq!((license.seq, license.revoked_at), (2, None));
        let now = app.now().to_system_time();
        licentia_verify::verify(license.token.expose(), &app.keys.current().trusted, now).unwrap();

        // The app cannot fetch the new license with the old one, so the customer gets a mail.
        for mail in mail::take_due(&app, 10).await.unwrap() {
            mail::send(&app, &mail).await.unwrap();
        }
        let mails = fs::read_dir(installation.directory.path().join("mail")).unwrap();
        let mails = mails.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        let of_reissue = "Subject: A replacement for your license for acme-app";
        let mails: Vec<_> = mails.filter(|mail| mail.contains(of_reissue)).collect();
        assert_eq!(mails.len(), 1);
        let text = mails[0].replace("=\r\n", "").replace("\r\n", "").replace("=3D", "=");
        assert!(text.contains(license.token.expose()), "{text}");

        // A license signed by the key is no credential, and neither is one forged with the key.
        let first = tx.licenses_of(&customer.customer_id, 2, 1).await.unwrap().remove(0);
        drop(tx);
        // A key that was revoked signs no list either.
        let list = status_list::signed(&app, 1).await.unwrap();
        assert_eq!(list.kid, license.key_id);
        let bits = bits_of(std::str::from_utf8(&list.text).unwrap());
        let bit = |license: &IssuedLicense| {
            let idx = usize::try_from(status_place(license.token.expose()).1).unwrap();
            bits[idx / 8] >> (idx % 8) & 1
        };
        assert_eq!((bit(&first), bit(&license)), (1, 0));
        let refused = refresh(&app, &first.token).await.unwrap_err();
        assert_eq!(refused.code(), Code::KeyRevoked);
        let verdict = verify(&app, &first.token, None).await.unwrap();
        let is_of_key = matches!(
            verdict,
            OnlineVerdict::Rejected(Rejection::KeyRevoked { kid: found }) if found == kid
        );
        assert!(is_of_key);
        let claims = licentia_verify::inspect(first.token.expose()).unwrap().claims;
        let mut claims: licentia_verify::Claims = serde_json::from_value(claims.into()).unwrap();
        claims.plan = "professional".into();
        let forged = known.keys.signing(known.now()).unwrap().sign(&claims).unwrap();
        let refused = refresh(&app, &forged).await.unwrap_err();
        assert_eq!(refused.code(), Code::KeyRevoked);
        let verdict = verify(&app, &forged, None).await.unwrap();
        let is_revoked = matches!(verdict, OnlineVerdict::Rejected(Rejection::KeyRevoked { .. }));
        assert!(is_revoked, "{verdict:?}");
    }
}

/// More licenses than are revoked in one transaction. The command dies after the first one.
#[tokio::test]
async fn each_license_of_a_revoked_key_is_in_the_audit_log_once_also_after_a_kill() {
    let installation = Installation::new(&[]).await;
    let app = installation.start().await.unwrap();
    issue_a_license(&app).await;
    let email = "ada@example.com".parse().unwrap();
    let customer = app.store.read().await.unwrap().customer_by_email(&email).await.unwrap();
    let customer_id = customer.unwrap().customer_id;
    let plan = app.plans.plan("professional").unwrap();
    let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
    for _ in 0..120 {
        licenses::grant(&app, Actor::Operator, &customer_id, &grant).await.unwrap();
    }
    let kid = app.keys.jwks().keys[0].kid.clone();
    let url = secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
    let revoke = |fail_point: &str| {
        run(licentia(installation.directory.path())
            .args(["keys", "revoke", &kid])
            .env("LICENTIA_DATABASE_URL", &url)
            .env("FAIL_POINT", fail_point))
    };
    let revoked = async || {
        let revoked = "SELECT COUNT(*) FROM licenses WHERE revocation_reason = 'key'";
        let told = "SELECT COUNT(*) FROM audit_log WHERE action = 'license.revoked'
            AND detail LIKE '%\"reason\":\"key\"%'";
        (number(&app.store, revoked).await, number(&app.store, told).await)
    };
    assert_eq!(revoke("license.key_revoked").code, -1, "it did not die");
    assert_eq!(revoked().await, (100, 100));
    let rest = revoke("");
    assert!(rest.out.contains("Revoked 21 licenses"), "{}{}", rest.out, rest.err);
    assert_eq!(revoked().await, (121, 121));
    let distinct = "SELECT COUNT(DISTINCT detail) FROM audit_log WHERE action = 'license.revoked'";
    assert_eq!(number(&app.store, distinct).await, 121);
}

#[tokio::test]
async fn an_interrupted_revocation_is_finished_by_a_second_run_also_with_the_root_elsewhere() {
    let points = [
        "keys.ended",
        "keys.recorded",
        "keys.bundle_stored",
        "license.renewed",
        "license.key_revoked",
    ];
    for (point, has_root) in points.into_iter().flat_map(|point| [(point, true), (point, false)]) {
        if point == "keys.bundle_stored" && !has_root {
            continue;
        }
        let installation = Installation::new(&[]).await;
        let app = installation.start().await.unwrap();
        issue_a_license(&app).await;
        let kid = app.keys.signing(app.now()).unwrap().kid;
        let root = root_of(&app).await;
        let former = issue(&app, &customer(&app).await).await;
        app.store.close().await;
        let safe = installation.directory.path().join("root.key");
        if !has_root {
            fs::rename(installation.keys().join(ROOT_FILE), &safe).unwrap();
        }
        let url =
            secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
        let command = |arguments: &[&str], fail_point: &str| {
            run(licentia(installation.directory.path())
                .arg("keys")
                .args(arguments)
                .env("LICENTIA_DATABASE_URL", &url)
                .env("FAIL_POINT", fail_point))
        };
        let name = format!("{point}, root here: {has_root}");
        assert_eq!(command(&["revoke", &kid], point).code, -1, "{name}: it did not die");
        if point == "keys.bundle_stored" {
            let refused = installation.start().await.err().expect("it started").to_string();
            assert!(refused.contains(&format!("run: licentia keys revoke {kid}")), "{refused}");
            assert!(!refused.contains("restore") && !refused.contains("backup"), "{refused}");
        }
        for _ in 0..2 {
            let done = command(&["revoke", &kid], "");
            assert_eq!(done.code, 0, "{name}: {}", done.err);
            let is_asked = done.out.contains("sign the new key bundle with it");
            assert_eq!(is_asked, !has_root, "{name}: {}", done.out);
        }
        if !has_root {
            let unsigned = command(&["bundle", "show", "--unsigned"], "");
            fs::write(installation.directory.path().join("unsigned.json"), &unsigned.out).unwrap();
            let sign = ["bundle", "sign", "--root-key", "root.key", "--in", "unsigned.json"];
            let signed = command(&[&sign[..], &["--out", "keys.jwt"]].concat(), "");
            assert_eq!(signed.code, 0, "{name}: {}", signed.err);
            let imported = command(&["bundle", "import", "keys.jwt"], "");
            assert_eq!(imported.code, 0, "{name}: {}", imported.err);
        }
        let app = installation.start().await.unwrap();
        let current = app.store.current_license(&customer(&app).await).await.unwrap().unwrap();
        assert!(current.key_id != kid && current.works(app.now()), "{name}: {current:?}");
        let keys = KeySet::from_root(&root, "acme-app").unwrap();
        let bundle = app.keys.bundle().unwrap();
        let code = |token: &LicenseToken| verdict(&keys, token.expose(), Some(&bundle), app.now());
        assert_eq!(code(&former.token).as_deref(), Some("key_revoked"), "{name}");
        assert_eq!(code(&current.token), None, "{name}");
        let left = "SELECT COUNT(*) FROM licenses WHERE revoked_at IS NULL";
        assert_eq!(number(&app.store, left).await, 1, "{name}");
        // A second key was not made by the second run.
        assert_eq!(app.keys.current().records.len(), 2, "{name}");
    }
}

/// The records decide, so a private part that the command cannot put away stops nothing.
#[tokio::test]
async fn a_key_from_the_environment_is_revoked_once_another_can_sign_security_8() {
    let pem = async || {
        let other = Installation::new(&[]).await;
        other.start().await.unwrap();
        fs::read_to_string(other.key_file()).unwrap()
    };
    let (stolen, new) = (pem().await, pem().await);
    let place = Installation::new(&[("LICENTIA_SIGNING_KEY", &stolen)]).await;
    let app = place.start().await.unwrap();
    issue_a_license(&app).await;
    let kid = app.keys.signing(app.now()).unwrap().kid;
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    let revoke = |settings: &[(&str, &str)]| {
        run(licentia(place.directory.path())
            .args(["keys", "revoke", &kid])
            .env("LICENTIA_DATABASE_URL", &url)
            .envs(settings.iter().copied()))
    };
    let refused = revoke(&[("LICENTIA_SIGNING_KEY", &stolen)]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in [
        "is not revoked yet",
        "set `signing_key` (LICENTIA_SIGNING_KEY) to a new key",
        "with the same settings",
        "openssl genpkey",
    ] {
        assert!(refused.err.contains(part), "{part}\nis not in\n{}", refused.err);
    }
    assert!(!place.keys().exists(), "a folder was made");
    let records = async || app.store.read().await.unwrap().key_records().await.unwrap();
    assert_eq!(records().await[0].revoked_at, None);

    let both = [("LICENTIA_SIGNING_KEY", &*new), ("LICENTIA_FORMER_SIGNING_KEYS", &*stolen)];
    let done = revoke(&both);
    assert!(done.code == 0 && done.out.contains("reissued 1"), "{done:?}");
    assert!(done.err.contains("have it as LICENTIA_FORMER_SIGNING_KEYS: remove it"), "{done:?}");
    assert!(!place.keys().exists(), "a folder was made");
    let mut config = place.config.clone();
    config.signing_key = Some(new.clone().into());
    for former in [Some(stolen.clone().into()), None] {
        config.former_signing_keys = former;
        let place =
            Installation { config: config.clone(), directory: tempfile::tempdir().unwrap() };
        let app = place.start().await.unwrap();
        assert_ne!(app.keys.signing(app.now()).unwrap().kid, kid);
        assert!(!app.keys.jwks().keys.iter().any(|key| key.kid == kid), "it is published");
    }
}

#[tokio::test]
async fn a_lost_key_from_the_environment_is_revoked_with_the_new_one_alone() {
    let pem = async || {
        let other = Installation::new(&[]).await;
        other.start().await.unwrap();
        fs::read_to_string(other.key_file()).unwrap()
    };
    let (lost, new) = (pem().await, pem().await);
    let place = Installation::new(&[("LICENTIA_SIGNING_KEY", &lost)]).await;
    let app = place.start().await.unwrap();
    issue_a_license(&app).await;
    let kid = app.keys.signing(app.now()).unwrap().kid;
    let mut config = place.config.clone();
    config.signing_key = Some(new.clone().into());
    let replaced = Installation { config, directory: tempfile::tempdir().unwrap() };
    let refused = replaced.start().await.err().expect("it started").to_string();
    assert!(refused.contains(&kid) && refused.contains("`former_signing_keys`"), "{refused}");
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    let done = run(licentia(place.directory.path())
        .args(["keys", "revoke", &kid])
        .env("LICENTIA_DATABASE_URL", &url)
        .env("LICENTIA_SIGNING_KEY", &new));
    assert!(done.code == 0 && done.out.contains("reissued 1"), "{done:?}");
    assert!(!done.err.contains("remove it") && !place.keys().exists(), "{done:?}");
    let app = replaced.start().await.unwrap();
    assert_ne!(app.keys.signing(app.now()).unwrap().kid, kid);
}

#[tokio::test]
async fn a_misspelled_key_is_not_revoked_and_nothing_is_made() {
    let installation = Installation::new(&[]).await;
    let app = installation.start().await.unwrap();
    app.store.close().await;
    fs::remove_file(installation.key_file()).unwrap();
    let url = secrecy::ExposeSecret::expose_secret(&installation.config.database_url).to_owned();
    let done = run(licentia(installation.directory.path())
        .args(["keys", "revoke", "Pkl-m-8BFxeJXJmk2rRpV2dlgfcbwrk8vIA3wtEZAbE"])
        .env("LICENTIA_DATABASE_URL", &url));
    assert_eq!(done.code, 1);
    assert!(done.err.contains("there is no key \"Pkl-m-8B"), "{}", done.err);
    let files = fs::read_dir(installation.keys()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_key = |file: &std::ffi::OsString| file.to_string_lossy().ends_with(".pem");
    assert_eq!(files.filter(is_key).count(), 0, "a key was made");
}

#[tokio::test]
async fn a_license_whose_plan_is_gone_is_reissued_with_what_it_grants_or_its_customer_is_named() {
    const OTHER: &str = "product = \"acme-app\"
        [trial]\nplan = \"other\"\ndays = 14
        [[plan]]\nid = \"other\"\nname = \"Other\"\n";
    for is_damaged in [false, true] {
        let place = Installation::new(&[]).await;
        let app = place.start().await.unwrap();
        issue_a_license(&app).await;
        let customer_id = customer(&app).await;
        let former = issue(&app, &customer_id).await;
        let kid = former.key_id.clone();
        if is_damaged {
            let sql = "UPDATE licenses SET token = 'x' WHERE superseded_at IS NULL";
            execute(&app.store, sql).await.unwrap();
        }
        fs::write(place.directory.path().join("other.toml"), OTHER).unwrap();
        let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
        let revoke = |settings: &[(&str, &str)]| {
            run(licentia(place.directory.path())
                .args(["keys", "revoke", &kid])
                .env("LICENTIA_DATABASE_URL", &url)
                .envs(settings.iter().copied()))
        };
        let current = async || app.store.current_license(&customer_id).await.unwrap().unwrap();
        let done = revoke(&[("LICENTIA_PLANS_FILE", "other.toml")]);
        if is_damaged {
            assert!(done.code == 1 && done.err.contains(customer_id.as_str()), "{done:?}");
            assert!(current().await.revoked_at.is_some());
            let again = revoke(&[]);
            assert!(again.code == 0 && again.out.contains("reissued 1"), "{again:?}");
        } else {
            assert!(done.code == 0 && done.out.contains("reissued 1"), "{done:?}");
            let (old, new) = (former.claims().unwrap(), current().await.claims().unwrap());
            assert_eq!((&new.features, &new.limits), (&old.features, &old.limits));
            assert_eq!((new.on_end, new.warn_days), (old.on_end, old.warn_days));
            assert!(new.jti != old.jti && new.seq > old.seq && new.status != old.status);
        }
        let license = current().await;
        assert_ne!(license.key_id, kid);
        assert_eq!((license.plan.as_str(), license.revoked_at), ("professional", None));
        let last = revoke(&[]);
        assert!(last.out.contains("reissued 0"), "{last:?}");
    }
}
