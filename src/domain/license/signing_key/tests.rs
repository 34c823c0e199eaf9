use super::*;

const DAY: i64 = 86_400;
const NOW: i64 = 1_000 * DAY;

fn at(days: i64) -> Timestamp {
    Timestamp::saturating(NOW + days * DAY)
}

/// A key that was announced on this day.
fn key(number: i64, published: i64) -> KeyRecord {
    KeyRecord {
        kid: format!("k{number}"),
        number,
        public_key: Some("x".into()),
        published_at: at(published),
        signs_from: at(published + 1),
        not_before: at(published),
        bundled_at: Some(at(published)),
        ends_at: None,
        revoked_at: None,
    }
}

fn signs(records: &[KeyRecord], held: &[&str], has_bundle: bool, day: i64) -> Option<String> {
    let held: Vec<_> = held
        .iter()
        .map(|kid| HeldKey { kid: kid.trim_end_matches('!'), is_preferred: kid.ends_with('!') })
        .collect();
    signing(records, &held, has_bundle, at(day)).map(|record| record.kid.clone())
}

#[test]
fn the_newest_key_that_was_announced_long_enough_signs() {
    let retired = KeyRecord { ends_at: Some(at(9)), ..key(2, 0) };
    let revoked = KeyRecord { revoked_at: Some(at(9)), ..key(2, 0) };
    let unbundled = KeyRecord { bundled_at: None, ..key(2, 0) };
    let late = KeyRecord { bundled_at: Some(at(5)), ..key(2, 0) };
    let urgent = KeyRecord { signs_from: at(0), bundled_at: Some(at(0)), ..key(2, 0) };
    let ahead = key(1, 365);
    let both = &["k1", "k2"][..];
    for (name, records, held, has_bundle, day, expected) in [
        ("one key before its time", vec![key(1, 0)], both, true, 0, Some("k1")),
        ("before the time of the second", vec![key(1, -9), key(2, 0)], both, true, 0, Some("k1")),
        ("from the time of the second", vec![key(1, -9), key(2, 0)], both, true, 1, Some("k2")),
        ("a clock that is years behind", vec![key(1, -9), key(2, 0)], both, true, -900, Some("k1")),
        ("the second is retired", vec![key(1, -9), retired.clone()], both, true, 9, Some("k1")),
        ("the second is revoked", vec![key(1, -9), revoked], both, true, 9, Some("k1")),
        (
            "the bundle lacks the second",
            vec![key(1, -9), unbundled.clone()],
            both,
            true,
            9,
            Some("k1"),
        ),
        ("there is no bundle", vec![key(1, -9), unbundled], both, false, 9, Some("k2")),
        (
            "in the bundle since the fifth day",
            vec![key(1, -9), late.clone()],
            both,
            true,
            5,
            Some("k1"),
        ),
        ("in the bundle for a day", vec![key(1, -9), late], both, true, 6, Some("k2")),
        ("at once", vec![key(1, -9), urgent], both, true, 0, Some("k2")),
        (
            "another server has the second",
            vec![key(1, -9), key(2, 0)],
            &["k1"],
            true,
            9,
            Some("k1"),
        ),
        (
            "the first is preferred",
            vec![key(1, -9), key(2, 0)],
            &["k1!", "k2"],
            true,
            9,
            Some("k1"),
        ),
        (
            "the preferred one is too new",
            vec![key(1, -9), key(2, 0)],
            &["k1", "k2!"],
            true,
            0,
            Some("k1"),
        ),
        (
            "a first key of a clock that was ahead",
            vec![ahead.clone(), key(2, 0)],
            both,
            true,
            0,
            Some("k1"),
        ),
        ("never again after the second", vec![ahead, key(2, 0)], both, true, 900, Some("k2")),
        ("all are retired", vec![retired], both, true, 9, None),
        ("none is held", vec![key(1, -9)], &[], true, 9, None),
    ] {
        assert_eq!(signs(&records, held, has_bundle, day).as_deref(), expected, "{name}");
    }
}

#[test]
fn a_key_that_a_clock_behind_recorded_is_announced_for_a_day_from_when_it_was_seen() {
    let (last_read, now) = (at(0), at(0) + TimeDelta::minutes(1));
    let signs_from = |record: &KeyRecord, before| {
        let corrected = record.corrected(last_read, before, now);
        corrected.map(|record| (record.ready_from(true).unwrap() - now).num_minutes())
    };
    const DAY: i64 = 24 * 60;
    let behind = KeyRecord { bundled_at: Some(now), ..key(2, -3) };
    let in_bundle_of_behind = KeyRecord { bundled_at: Some(at(-3)), ..behind.clone() };
    let unbundled = KeyRecord { bundled_at: None, ..behind.clone() };
    let urgent = KeyRecord { signs_from: behind.published_at, ..behind.clone() };
    for (name, record, before, expected) in [
        ("of a clock that is behind", &behind, None, Some(DAY)),
        ("in the bundle too, by a clock that is behind", &in_bundle_of_behind, None, Some(DAY)),
        ("known, and new in the bundle", &in_bundle_of_behind, Some(&unbundled), Some(DAY)),
        ("known, and in the bundle now", &behind, Some(&unbundled), None),
        ("known", &behind, Some(&behind), None),
        ("published since the last read", &key(2, 0), None, None),
        ("of a clock that is ahead", &key(2, 9), None, None),
        ("at once", &urgent, None, None),
    ] {
        assert_eq!(signs_from(record, before), expected, "{name}");
    }
}

#[test]
fn a_retired_key_ends_after_its_last_license_whatever_the_clock_says() {
    for (last_issue, expected) in [(None, 0), (Some(-9), 0), (Some(1), 1), (Some(400), 1)] {
        let retired = key(1, -9).retired(last_issue.map(at), at(0));
        assert_eq!(retired.ends_at, Some(at(expected) + SIGNS_AFTER_ITS_END), "{last_issue:?}");
    }
}

fn new(kid: &str, named: i64) -> NewKey {
    let (kid, public_key) = (kid.to_owned(), "x".to_owned());
    NewKey { kid, public_key, named_time: at(named), first_issue: None }
}

#[test]
fn a_key_that_appears_later_is_announced_whatever_its_name_says() {
    let signs_from = |records: &[KeyRecord]| -> Vec<i64> {
        records.iter().map(|key| (key.signs_from - at(0)).num_days()).collect()
    };
    // The keys of an older server, one of which was to sign in an hour.
    let first = register(vec![new("k1", -90), new("k2", -1), new("k3", 0)], &[], None, at(0));
    assert_eq!(signs_from(&first), [-90, -1, 0]);
    let soon = NewKey { named_time: at(0) + TimeDelta::hours(1), ..new("k4", 0) };
    assert_eq!(signs_from(&register(vec![soon], &[], None, at(0))), [1]);
    let later = register(vec![new("k4", -90), new("k5", 7)], &first, None, at(0));
    assert_eq!(signs_from(&later), [1, 7]);
    assert_eq!(later.iter().map(|key| key.number).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(signs_from(&register(vec![new("k4", 1)], &first, Some("k4"), at(0))), [0]);
}

#[test]
fn the_time_of_a_key_begins_before_its_first_license() {
    for (first_issue, named, expected) in
        [(None, -3, -3), (None, 5, 0), (Some(-9), -3, -9), (Some(-1), -3, -3), (Some(4), 2, 0)]
    {
        let key = NewKey { first_issue: first_issue.map(at), ..new("k1", named) };
        let record = register(vec![key], &[], None, at(0)).remove(0);
        assert_eq!(record.not_before, at(expected) - SKEW, "{first_issue:?} {named}");
    }
    // A newer key: the licenses that it signed before a backup was restored are not known.
    for (first_issue, named, expected) in
        [(None, 5, 0), (None, 1, 0), (None, 0, -1), (None, -3, -4), (Some(-9), -3, -9)]
    {
        let newer = NewKey { first_issue: first_issue.map(at), ..new("k2", named) };
        let record = register(vec![newer], &[key(1, -90)], None, at(0)).remove(0);
        assert_eq!(record.not_before, at(expected) - SKEW, "{first_issue:?} {named}");
        assert!(record.signs_from >= at(1), "{record:?}");
    }
}

#[test]
fn a_key_has_a_state() {
    let state = |record: &KeyRecord, signing| record.state(signing, true, at(0));
    assert_eq!(state(&key(1, -9), Some("k1")), KeyState::Signing);
    assert_eq!(state(&key(1, -9), Some("k2")), KeyState::Former);
    assert_eq!(state(&key(1, 0), Some("k2")), KeyState::Next);
    let ended = KeyRecord { ends_at: Some(at(0)), ..key(1, -9) };
    assert_eq!(state(&ended, None), KeyState::Retired);
    let revoked = KeyRecord { revoked_at: Some(at(0)), ..ended };
    assert_eq!(state(&revoked, Some("k1")), KeyState::Revoked);
}
