//! The times of keys: whatever a thief signs with a stolen key, the online verdict and the refresh
//! agree with an app that pins the root and has the newest bundle and list.

use chrono::TimeDelta;
use licentia::app::App;
use licentia::clock::Clock;
use licentia::domain::license::LicenseToken;
use licentia::domain::time::Timestamp;
use licentia::error::Code;
use licentia::flows::license::keys::{mark_revoked, retire};
use licentia::flows::license::{OnlineVerdict, refresh, status_list, verify};
use licentia::keys::KeyRing;
use licentia_verify::{Claims, Request};

use crate::harness::database::execute;
use crate::harness::rotation::{DAY, HOUR, MINUTE, Pair, claims, issue};

/// Returns the code of the online verdict; none for a valid license.
async fn online(server: &App, token: &LicenseToken) -> Option<String> {
    match verify(server, token, None).await.unwrap() {
        OnlineVerdict::Valid { .. } => None,
        OnlineVerdict::Rejected(rejection) => Some(rejection.code().as_str().to_owned()),
        OnlineVerdict::Unknown => Some("unknown_license".to_owned()),
    }
}

/// Three keys, one after another: a revoked one, a retired one, and the one that signs. Each has
/// signed a license.
async fn rotated() -> (Pair, KeyRing, Vec<(String, LicenseToken)>) {
    let mut pair = Pair::start().await;
    let mut signed = Vec::new();
    for number in 0..3 {
        if number > 0 {
            pair.generate();
            pair.reload().await;
            pair.clock.advance(2 * DAY);
            pair.reload().await;
        }
        let license = issue(&pair.servers[0], &pair.customer_id).await;
        signed.push((license.key_id.clone(), license.token.clone()));
        pair.issued.push(license);
    }
    let ring = KeyRing::load(&pair.place.config).unwrap().unwrap();
    let own = pair.servers[0].key_store();
    mark_revoked(&own, &signed[0].0, pair.clock.now()).await.unwrap();
    retire(&own, &signed[1].0, pair.clock.now()).await.unwrap();
    pair.reload().await;
    pair.clock.advance(DAY);
    pair.apps.fetch(&pair.servers[0], pair.clock.now());
    (pair, ring, signed)
}

#[tokio::test]
async fn online_verdict_and_refresh_agree_with_an_app_that_pins_the_root_about_any_key() {
    let (pair, ring, signed) = rotated().await;
    let (server, now) = (&pair.servers[1], pair.clock.now());
    let list = status_list::signed(server, 1).await.unwrap();
    let list = std::str::from_utf8(&list.text).unwrap();
    let offline = |token: &str| {
        let request = Request {
            keys: Some(&pair.apps.bundle),
            status: Some(list),
            ..Request::new(token, now.to_system_time())
        };
        pair.apps.root.verdict(&request).0.code.map(|code| code.as_str().to_owned())
    };
    let mut codes = Vec::new();
    for (kid, own) in &signed {
        let stored = claims(own.expose());
        let was_issued = Timestamp::saturating(stored.iat + 60);
        let dates = [("long before", -400), ("in", 0), ("after the end of", 4)];
        for (date, days) in dates {
            // With the id of a license that the server knows, and with one that it does not.
            for jti in [stored.jti.clone(), format!("lic_{}", "0".repeat(32))] {
                let at = (was_issued + TimeDelta::days(days)).min(now).epoch_seconds() - 60;
                let is_unknown = jti != stored.jti;
                let forged = Claims { iat: at, nbf: at, jti, ..stored.clone() };
                let token = ring.key(kid).unwrap().sign(&forged).unwrap();
                let is_stored = token.expose() == own.expose();
                let offline = offline(token.expose());
                let online = online(server, &token).await;
                let name = format!("{kid}, dated {date} its time, unknown: {is_unknown}");
                // An app cannot know what the server has issued.
                let expected = match &offline {
                    None if is_unknown => Some("unknown_license".to_owned()),
                    offline => offline.clone(),
                };
                let is_signed_again = days > 0 && kid == &signed[2].0;
                if offline.is_some() || is_unknown || is_stored || is_signed_again {
                    assert_eq!(online, expected, "{name}");
                }
                let refreshed = refresh(server, &token).await.map_err(|error| error.code());
                match (offline.as_deref(), online.as_deref()) {
                    (None, None) => assert!(refreshed.is_ok(), "{name}"),
                    (Some("key_revoked"), _) => {
                        assert_eq!(refreshed.unwrap_err(), Code::KeyRevoked, "{name}");
                    }
                    _ => assert_eq!(refreshed.unwrap_err(), Code::InvalidLicense, "{name}"),
                }
                codes.push(online.unwrap_or_default());
            }
        }
    }
    let of_each_key = [
        // The first key is revoked: whatever it signed is refused.
        ["key_revoked"; 6],
        // The second one was retired.
        ["key_not_valid", "key_not_valid", "", "unknown_license", "key_not_valid", "key_not_valid"],
        // The third one signs.
        ["key_not_valid", "key_not_valid", "", "unknown_license", "", "unknown_license"],
    ];
    assert_eq!(codes, of_each_key.concat());
}

#[tokio::test]
async fn a_license_that_a_server_with_a_slow_clock_issued_is_refreshed_and_then_valid() {
    let pair = Pair::start().await;
    let server = &pair.servers[0];
    let license = issue(server, &pair.customer_id).await;
    // The clock of the server that issued it was behind the one that recorded the key.
    pair.clock.advance(2 * HOUR);
    let later = pair.clock.now().epoch_seconds() - MINUTE;
    let sql = format!("UPDATE signing_keys SET not_before = {later}");
    execute(&server.store, &sql).await.unwrap();
    pair.reload().await;
    assert_eq!(online(server, &license.token).await.as_deref(), Some("key_not_valid"));
    let fresh = refresh(server, &license.token).await.unwrap();
    assert_eq!(online(server, &fresh.token).await, None);
    // Whoever has the key gets nothing for a text that the server did not issue.
    let own = claims(license.token.expose());
    let iat = own.iat + MINUTE;
    let ring = KeyRing::load(&pair.place.config).unwrap().unwrap();
    let forged = Claims { iat, nbf: iat, ..own };
    let forged = ring.key(&license.key_id).unwrap().sign(&forged).unwrap();
    assert_eq!(online(server, &forged).await.as_deref(), Some("key_not_valid"));
    assert_eq!(refresh(server, &forged).await.unwrap_err().code(), Code::InvalidLicense);
}
