//! The secret of the database, under which guessable values are hashed.

use licentia::domain::secret::Purpose;
use licentia::flows::secret::keyed;

use crate::harness::database::texts;
use crate::harness::shop::Shop;

#[tokio::test]
async fn all_servers_on_a_database_hash_alike_and_another_database_does_not() {
    let (shop, other) = (Shop::open().await, Shop::open().await);
    let second = shop.second_server().await;
    let apps = [&shop.app.app, &second.app, &shop.app.app];
    let hashes = apps.map(|app| keyed(app, Purpose::Throttle, "ada@example.com"));
    let hashes = futures_util::future::try_join_all(hashes).await.unwrap();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let elsewhere = keyed(&other.app.app, Purpose::Throttle, "ada@example.com").await.unwrap();
    assert_ne!(elsewhere, hashes[0]);
    // The same value for another purpose is another hash.
    let trial = keyed(&second.app, Purpose::TrialAddress, "ada@example.com").await.unwrap();
    assert_ne!(trial, hashes[0]);
    let stored = texts(&shop.app.app.store, "SELECT value FROM server_secrets").await;
    assert_eq!(stored.len(), 1);
    assert!(stored[0].starts_with("lhky_"), "{stored:?}");
}
