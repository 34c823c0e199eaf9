//! What a refresh returns: before and after the end of a license and of its token, after a change
//! of the plans, and to a device whose clock was ahead.

use licentia::app::App;
use licentia::domain::license::{LicenseToken, Term};
use licentia::domain::time::Timestamp;
use licentia::flows::license::refresh as refresh_by;
use licentia_verify::{Code, Request, State};
use serde_json::{Value, json};

use crate::ends::{
    DAY, MODES, PLANS, at, issued, must_agree, offline, online, refresh, set_clock, start, terms,
};
use crate::harness::{START, TestApp};

#[tokio::test]
async fn a_refresh_returns_only_a_license_that_works() {
    let app = start().await;
    for mode in MODES {
        for (name, term) in terms() {
            set_clock(&app, START);
            let license = issued(&app, &format!("{mode}-{name}"), mode, term).await;
            let over = term.ends().map_or(i64::MAX, Timestamp::epoch_seconds);
            let refreshable = license.token_expires_at.epoch_seconds() + 90 * DAY;
            let mut times: Vec<_> =
                (0..50).map(|n| START + n * (DAY * 23 / 10 + 1)).chain([over - 1, over]).collect();
            times.extend([refreshable - 1, refreshable]);
            times.retain(|time| *time < START + 365 * DAY);
            times.sort_unstable();
            for time in times {
                set_clock(&app, time);
                let answer = refresh(&app, license.token.expose()).await;
                let why = format!("{mode} {name} at {time}: {answer:?}");
                if time >= refreshable {
                    assert_eq!(answer.problem(), (401, "invalid_license"), "{why}");
                } else if time >= over {
                    assert_eq!(answer.problem(), (403, "license_expired"), "{why}");
                } else {
                    let fresh = offline(&app.app, answer.text("/token"));
                    let is_in_term = matches!(fresh.state, Some(State::Active | State::Grace));
                    assert!(fresh.valid && is_in_term, "{why}: {fresh:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_app_that_refreshes_daily_does_not_warn_about_its_token() {
    let app = start().await;
    let plans = PLANS.replace("token_days = 5\nwarn_days = 2", "token_days = 30\nwarn_days = 28");
    let server = another(&app, &plans).await;
    let license = issued(&app, "ada", "limited", Term::default()).await;
    let mut token = license.token;
    for day in 1..100 {
        set_clock(&app, START + day * DAY);
        token = refresh_by(&server, &token).await.unwrap().token;
        set_clock(&app, START + (day + 1) * DAY - 1);
        let verdict = offline(&server, token.expose());
        assert_eq!((verdict.state, verdict.warn), (Some(State::Active), false), "day {day}");
    }
    assert!(app.count("licenses").await < 110, "at most one a day");
}

/// Returns another server on the same database whose plans file has these plans.
async fn another(app: &TestApp, plans: &str) -> App {
    let file = app.directory.path().join("other-plans.toml");
    std::fs::write(&file, plans).unwrap();
    let config = licentia::config::Config { plans_file: Some(file), ..app.config.clone() };
    let random = licentia::random::Random::from_system().unwrap();
    App::start(&config, app.clock.clone(), random).await.unwrap()
}

#[tokio::test]
async fn a_token_that_has_run_out_is_not_returned_when_its_plan_is_gone() {
    let app = start().await;
    let license = issued(&app, "ada", "stop", Term::default()).await;
    let without = another(&app, &PLANS.replace("id = \"stop\"", "id = \"other\"")).await;
    let end = license.token_expires_at.epoch_seconds();
    for time in [START, START + 2 * DAY, end - 1] {
        set_clock(&app, time);
        let kept = refresh_by(&without, &license.token).await.unwrap();
        assert_eq!(kept.license_id, license.license_id);
        assert_eq!(kept.claims().unwrap().exp, end, "it ends when it did");
    }
    for time in [end, end + DAY] {
        set_clock(&app, time);
        let refused = refresh_by(&without, &license.token).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "token_expired");
        assert_eq!(offline(&without, license.token.expose()).code, Some(Code::TokenExpired));
    }
}

#[tokio::test]
async fn a_refresh_heals_a_device_whose_clock_was_ahead_and_stores_nothing() {
    let app = start().await;
    let trial = app.sign_up("ada@example.com").await.text("/license/token").to_owned();
    let keys = app.app.keys.current();
    let trusted = &keys.trusted;
    let verdict = |token: &str, memory: &str, ahead: i64| {
        let now = at(app.app.now().epoch_seconds() + ahead).to_system_time();
        trusted.verdict(&Request { memory: Some(memory), ..Request::new(token, now) })
    };
    let (mut token, mut memory) = (trial.clone(), String::new());
    for round in 0..20 {
        // The clock is a year ahead once, then right again.
        memory = verdict(&token, &memory, 365 * DAY).1;
        let (rolled_back, kept) = verdict(&token, &memory, 0);
        assert_eq!(rolled_back.code, Some(Code::ClockRolledBack), "round {round}");
        // However soon the app refreshes again.
        app.clock.advance_seconds([1, 30, 60][round % 3]);
        let fresh = refresh(&app, &token).await.text("/token").to_owned();
        let healed;
        (healed, memory) = verdict(&fresh, &kept, 0);
        assert_eq!(healed.state, Some(State::Active), "round {round}: {healed:?}");
        // Whoever refreshes meanwhile gets the same license, and each text is on record.
        assert_eq!(refresh(&app, &trial).await.text("/token"), fresh);
        must_agree(&online(&app, &fresh).await, &healed, "healed");
        token = fresh;
    }
    assert_eq!(app.count("licenses").await, 1);
}

#[tokio::test]
async fn promises_reach_each_license_at_its_next_refresh_and_not_before() {
    let app = start().await;
    let trial = app.sign_up("ada@example.com").await;
    let bob = app.sign_up("bob@example.com").await;
    let granted = app.grant(bob.text("/customer/customer_id"), "warn").await;
    let term = Term { expires: Some(at(START + 9 * DAY)), grace_until: Some(at(START + 11 * DAY)) };
    let paid = issued(&app, "eve", "limited", term).await;
    let promise = |token: &str| {
        let claims = licentia_verify::inspect(token).unwrap().claims;
        ["on_end", "warn_days"].map(|name| claims.get(name).cloned().unwrap_or_default())
    };
    let limited = json!({ "mode": "limited", "features": ["view"], "limits": { "seats": 1 } });
    let nothing = json!({ "mode": "limited", "features": [], "limits": {} });
    let held = [trial.text("/license/token"), granted.token.expose(), paid.token.expose()];
    assert_eq!(promise(held[0]), [nothing, Value::Null]);
    assert_eq!(promise(held[1]), [json!({ "mode": "warn" }), json!(1)]);
    assert_eq!(promise(held[2]), [limited, json!(2)]);

    let changed = PLANS
        .replace("on_end = { mode = \"limited\" }", "on_end = { mode = \"warn\" }\nwarn_days = 3")
        .replace("warn_days = 1\non_end = { mode = \"warn\" }", "")
        .replace("seats = 1", "seats = 2");
    let server = another(&app, &changed).await;
    let expected = [
        [json!({ "mode": "warn" }), json!(3)],
        [Value::Null, Value::Null],
        [json!({ "mode": "limited", "features": ["view"], "limits": { "seats": 2 } }), json!(2)],
    ];
    for (text, expected) in held.iter().zip(expected) {
        let token = LicenseToken::new((*text).to_owned());
        let fresh = refresh_by(&server, &token).await.unwrap();
        assert_eq!(promise(fresh.token.expose()), expected);
        let again = refresh_by(&server, &token).await.unwrap();
        assert_eq!(again.license_id, fresh.license_id, "it is issued once");
    }
    // The license in the field keeps its text: everything works after its end.
    set_clock(&app, START + 6 * DAY);
    let kept = offline(&server, held[1]);
    assert_eq!((kept.state, kept.features.len()), (Some(State::Overdue), 2));
    let answer = online(&app, held[1]).await;
    assert_eq!((answer.text("/state"), answer.text("/code")), ("overdue", "token_expired"));
    assert_eq!(answer.body["superseded"], true);
}
