"""The times of a license: beginning, grace, ends, warnings, and changes_at."""

from .base import (DAY, EXP, EXPIRES, ISSUED, NOW, Book, active, grace, license_, over, refused,
                   step)

END = EXPIRES + 14 * DAY
LATE = 2 * END  # an exp that plays no part


def books():
    return [boundaries(), warnings()]


def boundaries():
    book = Book("time")
    begin = ISSUED - 60

    def at(name, why, now, expect, **changes):
        book.case(name, why, license=license_(changes), now=now, expect=expect)

    at("a second too early", "A license is accepted 60 seconds before its beginning.", begin - 1,
       refused("not_yet_valid", changes_at=begin))
    at("at the beginning", "A license is accepted 60 seconds before its beginning.", begin,
       active())
    at("nbf after iat", "The later one counts.", NOW, refused("not_yet_valid",
       changes_at=NOW + 40), nbf=NOW + 100)
    at("iat after nbf", "The later one counts.", NOW, refused("not_yet_valid",
       changes_at=NOW + 40), iat=NOW + 100)
    at("nbf 60 seconds ahead", "The leeway is 60 seconds.", NOW, active(), nbf=NOW + 60)
    at("nbf 61 seconds ahead", "The leeway is 60 seconds.", NOW,
       refused("not_yet_valid", changes_at=NOW + 1), nbf=NOW + 61)
    at("too early and over", "not_yet_valid comes first, and changes_at is the beginning.", NOW,
       refused("not_yet_valid", changes_at=NOW + 940), nbf=NOW + 1000, exp=NOW - 1000,
       license_expires=NOW - 1000)
    at("the year 1970", "A clock that was never set.", 0,
       refused("not_yet_valid", changes_at=begin))
    at("a license of 1970 in 1970", "The beginning may be before 1970.", 0,
       active(), iat=30, nbf=59)
    at("a license of 1970, a minute later", "Nothing is special about 0.", 0,
       refused("not_yet_valid", changes_at=1), iat=61, nbf=0)

    for name, now, expect in [
            ("a second before exp", EXP - 1, active()),
            ("at exp", EXP, refused("token_expired")),
            ("after exp", EXP + DAY, refused("token_expired"))]:
        at(name, "Ends are exclusive, without leeway.", now, expect)
    for name, now, expect in [
            ("a second before the end", EXPIRES - 1, active(changes_at=EXPIRES)),
            ("at the end", EXPIRES, refused("license_expired")),
            ("after the end", EXPIRES + 1000 * DAY, refused("license_expired"))]:
        at(name, "Ends are exclusive, without leeway.", now, expect, exp=LATE)
    for name, now, expect in [
            ("a second before grace", EXPIRES - 1, active(changes_at=EXPIRES)),
            ("at the beginning of grace", EXPIRES, grace(changes_at=END)),
            ("a second before the end of grace", END - 1, grace(changes_at=END)),
            ("at the end of grace", END, refused("license_expired"))]:
        at(name, "Grace lasts from license_expires to grace_until.", now, expect, exp=LATE,
           grace_until=END)
    for name, now, expect in [
            ("grace, and the token ends within it", EXPIRES, grace(changes_at=EXPIRES + 100)),
            ("grace, a second before the token ends", EXPIRES + 99,
             grace(changes_at=EXPIRES + 100)),
            ("grace, and the token has ended", EXPIRES + 100, refused("token_expired")),
            ("over, and the token has ended earlier", END, refused("license_expired"))]:
        at(name, "The token may end within grace.", now, expect, exp=EXPIRES + 100,
           grace_until=END)
    at("the token ends at the beginning of grace", "The token's end comes before grace.", EXPIRES,
       refused("token_expired"), exp=EXPIRES, grace_until=END)
    at("the token and the license end together", "Over comes before token out.", EXPIRES,
       refused("license_expired"), exp=EXPIRES)
    at("the token ended before the license", "Over comes before token out.", EXPIRES,
       refused("license_expired"), exp=EXPIRES - DAY)
    at("the token ends before the license does", "It is the next change.", NOW,
       active(changes_at=NOW + 5), exp=NOW + 5)
    at("the license ends before the token does", "It is the next change.", NOW,
       active(changes_at=NOW + 5), exp=NOW + 10, license_expires=NOW + 5)
    at("exp long after the license", "Verifiers do not check that bound.", NOW,
       active(changes_at=EXPIRES), exp=LATE)
    at("exp before iat", "It has ended.", NOW, refused("token_expired"), exp=1)
    at("grace_until is license_expires", "There is no grace.", EXPIRES,
       refused("license_expired"), exp=LATE, grace_until=EXPIRES)
    at("grace_until is before license_expires", "The later one is the end.", EXPIRES - 1,
       active(changes_at=EXPIRES), exp=LATE, grace_until=EXPIRES - 5 * DAY)
    at("grace_until is before license_expires, at the end", "The later one is the end.", EXPIRES,
       refused("license_expired"), exp=LATE, grace_until=EXPIRES - 5 * DAY)
    at("grace_until is 0", "The later one is the end.", EXPIRES - 1,
       active(changes_at=EXPIRES), exp=LATE, grace_until=0)
    at("a license that never ends", "Only its token does.", NOW, active(), license_expires=None)
    at("a license that never ends, token out", "Only its token does.", EXP,
       refused("token_expired"), license_expires=None)
    at("a license for years", "A token may last for years.", NOW + 3000 * DAY,
       active(changes_at=NOW + 3650 * DAY), license_expires=None, exp=NOW + 3650 * DAY)
    sweep(book)
    return book


def sweep(book):
    """Adds one license at many times."""
    times = [(0, refused("not_yet_valid", changes_at=ISSUED - 60)),
             (ISSUED - 10 * DAY, refused("not_yet_valid", changes_at=ISSUED - 60)),
             (ISSUED - 61, refused("not_yet_valid", changes_at=ISSUED - 60))]
    times += [(now, active(changes_at=EXPIRES, warn=now >= EXPIRES - 10 * DAY))
              for now in (ISSUED - 60, ISSUED, NOW, EXPIRES - 10 * DAY - 1, EXPIRES - 10 * DAY,
                          EXPIRES - 1)]
    times += [(now, grace(changes_at=END)) for now in (EXPIRES, EXPIRES + DAY, END - 1)]
    times += [(now, over("limited", "license_expired", features=["open"], limits={}))
              for now in (END, END + 1000 * DAY, 253_402_300_799)]
    license = license_({"exp": LATE, "grace_until": END, "warn_days": 10,
                        "on_end": {"mode": "limited", "features": ["open"]}})
    book.sequence("one license from 1970 to 9999", "A license goes through all its states.",
                  [step(expect, now=now, memory=None) for now, expect in times], license=license)


def warnings():
    book = Book("warn")

    def at(name, why, now, expect, **changes):
        book.case(name, why, license=license_(changes), now=now, expect=expect)

    why = "The app warns from warn_days days before changes_at onwards."
    at("a second before the warning", why, EXP - 7 * DAY - 1, active(), warn_days=7)
    at("at the warning", why, EXP - 7 * DAY, active(warn=True), warn_days=7)
    at("a second before the end", why, EXP - 1, active(warn=True), warn_days=7)
    at("no warn_days", "Without them there is no warning.", EXP - 1, active())
    at("warn_days 0", "0 days before the change is the change itself.", EXP - 1, active(),
       warn_days=0)
    at("warn_days beyond the beginning", why, NOW, active(warn=True), warn_days=20_000)
    at("warn_days 1 before grace", "Grace is a change for the worse too.", EXPIRES - DAY,
       active(warn=True, changes_at=EXPIRES), warn_days=1, exp=LATE, grace_until=END)
    at("warn_days in grace", "Grace always warns.", EXPIRES, grace(changes_at=END), warn_days=0,
       exp=LATE, grace_until=END)
    at("warn_days and invalid", "An invalid license does not warn.", EXP,
       refused("token_expired"), warn_days=30)
    at("warn_days and too early", "An invalid license does not warn, although changes_at is set.",
       ISSUED - 61, refused("not_yet_valid", changes_at=ISSUED - 60), warn_days=30)
    at("warn_days and overdue", "Overdue always warns.", EXP,
       over("overdue", "token_expired"), warn_days=0, on_end={"mode": "warn"})
    return book
