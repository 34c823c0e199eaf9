//! A status list of 2^20 licenses, half of whose places are taken, with 1,000 revoked ones. Its
//! reads are with the requests of apps, in `hot.rs`.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use licentia::app::App;
use licentia::domain::ids::{CustomerId, LicenseId};
use licentia::domain::license::Extras;
use licentia::domain::license::status_list::{SIZE, draws};
use licentia::domain::operator::audit::Actor;
use licentia::flows::license::status_list::signed;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::store::Store;
use miniz_oxide::deflate::compress_to_vec_zlib;
use tokio::runtime::Runtime;

use crate::{Better, ROUNDS, Row, compare};

/// The revoked licenses.
const REVOKED: usize = 1_000;

/// The revocations of each round.
const AT_ONCE: usize = 5;

/// The list: the first one that the database has.
const LIST: i64 = 1;

/// Takes the places, and revokes the licenses. Returns the signed list.
pub fn prepare(runtime: &Runtime, app: &App) -> Bytes {
    let Store::Sqlite { writer, .. } = &app.store else { panic!("the bench uses SQLite") };
    // Licenses that were deleted need no customers, and their bits are read like others.
    let drawn = (0..).flat_map(|_| draws(&app.random.bytes())).take(REVOKED);
    let drawn: Vec<_> = drawn.map(|idx| format!("({LIST}, {idx}, 1)")).collect();
    let places = [
        format!(
            "INSERT INTO status_places (list_id, idx, deleted_at) VALUES {}
             ON CONFLICT (list_id, idx) DO NOTHING",
            drawn.join(", ")
        ),
        format!(
            "WITH RECURSIVE places (idx) AS
                 (SELECT 0 UNION ALL SELECT idx + 2 FROM places WHERE idx + 2 < {SIZE})
             INSERT INTO status_places (list_id, idx) SELECT {LIST}, idx FROM places WHERE true
             ON CONFLICT (list_id, idx) DO NOTHING"
        ),
    ];
    runtime.block_on(async {
        for insert in places {
            let insert = sqlx::AssertSqlSafe(insert); // Numbers only.
            sqlx::raw_sql(insert).execute(writer).await.unwrap();
        }
        signed(app, LIST).await.unwrap().text.clone()
    })
}

/// Returns the rows about the size of a list and the time to sign it. `list` is the list that
/// [`prepare`] returned.
pub fn rows(runtime: &Runtime, app: &App, customer: &CustomerId, list: &Bytes) -> Vec<Row> {
    let mut licenses = runtime.block_on(grants(app, customer, AT_ONCE * (ROUNDS + 1))).into_iter();
    #[allow(clippy::cast_precision_loss)]
    let size = list.len() as f64 / 1024.0;
    let key = SigningKey::from_bytes(&[7; 32]);
    let mut bits = vec![0_u8; SIZE as usize / 8];
    for idx in (0..REVOKED).flat_map(|_| draws(&app.random.bytes())).take(REVOKED) {
        bits[idx as usize / 8] |= 1 << (idx % 8);
    }
    let name = "status list, 1,000 of 2^20 revoked";
    vec![
        Row { name, value: size, unit: "KiB", better: Better::Less, baseline: None },
        compare(
            "sign it after one revocation",
            "ms",
            Better::Less,
            || {
                let times = licenses.by_ref().take(AT_ONCE).map(|license| {
                    runtime.block_on(async {
                        licenses::revoke(app, Actor::Operator, &license).await.unwrap();
                        let begun = Instant::now();
                        signed(app, LIST).await.unwrap();
                        begun.elapsed().as_secs_f64() * 1e3
                    })
                });
                mean(times)
            },
            "only compress the bits and sign as many bytes",
            || {
                mean((0..AT_ONCE).map(|_| {
                    let begun = Instant::now();
                    black_box(compress_to_vec_zlib(&bits, 9));
                    black_box(key.sign(list));
                    begun.elapsed().as_secs_f64() * 1e3
                }))
            },
        ),
    ]
}

#[allow(clippy::cast_precision_loss)]
fn mean(times: impl Iterator<Item = f64>) -> f64 {
    times.sum::<f64>() / AT_ONCE as f64
}

/// Grants a customer this many licenses. Returns their ids.
async fn grants(app: &App, customer: &CustomerId, count: usize) -> Vec<LicenseId> {
    let plan = app.plans.plan("professional").unwrap();
    let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
    let mut ids = Vec::new();
    for _ in 0..count {
        let license = licenses::grant(app, Actor::Operator, customer, &grant).await.unwrap();
        ids.push(license.license_id);
    }
    ids
}
