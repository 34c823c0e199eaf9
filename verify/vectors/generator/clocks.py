"""Clocks that are set back, ahead, or right again."""

from .base import (BY_ROOT, CUSTOMER, DAY, EXP, ISSUED, LIST_URI, NOW, Book, active, bundle,
                   license_, listed, memory, over, refused, status_list, step)
from .jose import dumps

HOUR = 3600
FAR = NOW + 25_000 * DAY  # in the year 2095
LAST = 253_402_300_799  # the end of the year 9999
LONG = {"exp": NOW + 9000 * DAY, "license_expires": None}
"""A license whose end plays no part."""


def books():
    return [rolled_back(), healed(), sweeps()]


def rolled(changes_at=None):
    """Returns the verdict for a clock that was set back."""
    return refused("clock_rolled_back", changes_at=changes_at)


def rolled_back():
    book = Book("clock")

    def at(name, why, expect, remembered, remember=None, changes=None, **inputs):
        inputs.setdefault("license", license_(changes))
        book.case(name, why, expect=expect, memory=memory(**remembered),
                  remember=memory(**{**inputs_after(), **remember}) if remember else None,
                  **inputs)

    def inputs_after():
        return {"time": NOW, "signed": ISSUED, "seq": {CUSTOMER: 7}}

    signed = {"signed": ISSUED}
    why = "An hour is allowed, for time zones and small corrections."
    at("an hour before the remembered time", why, active(), {**signed, "time": NOW + HOUR},
       {"time": NOW + HOUR})
    at("an hour and a second before it", why, rolled(NOW + 1),
       {**signed, "time": NOW + HOUR + 1}, {"time": NOW + HOUR + 1})
    at("an hour before the latest iat", why, active(), {"signed": NOW + HOUR},
       {"signed": NOW + HOUR})
    at("an hour and a second before the latest iat", why, rolled(NOW + 1),
       {"signed": NOW + HOUR + 1}, {"signed": NOW + HOUR + 1})
    at("before both", "The later one counts.", rolled(NOW + 2 * DAY - HOUR),
       {"time": NOW + DAY, "signed": NOW + 2 * DAY},
       {"time": NOW + DAY, "signed": NOW + 2 * DAY})
    at("before both, the other way round", "The later one counts.", rolled(NOW + 2 * DAY - HOUR),
       {"time": NOW + 2 * DAY, "signed": NOW + DAY})
    at("after both", "The clock is right.", active(), {"time": NOW - 1, "signed": ISSUED - 1},
       {"signed": ISSUED})
    at("within the hour", "time stays the later one.", active(), {**signed, "time": NOW + 99},
       {"time": NOW + 99})
    at("memory of the year 9999", "changes_at is null: the license is over by then.", rolled(),
       {**signed, "time": LAST})
    at("a clock after the year 9999",
       "It counts as the end of that year, so memory stays readable.",
       refused("license_expired"), signed, {"time": LAST}, now=LAST + 1)
    at("a clock in the far future", "It counts as the end of the year 9999.",
       refused("license_expired"), signed, {"time": LAST}, now=2**53 - 1)
    at("a clock after the year 9999, and memory of its end", "It is not set back.",
       refused("license_expired"), {**signed, "time": LAST}, {"time": LAST}, now=LAST + 1)
    at("a clock before 1970", "It counts as 0.", refused("not_yet_valid", changes_at=ISSUED - 60),
       {}, {"time": 0}, now=-1)
    at("a clock long before 1970", "It counts as 0.",
       refused("not_yet_valid", changes_at=ISSUED - 60), {"time": NOW}, {"time": NOW},
       now=-(2**40))
    at("a clock set back before exp", "The license is out at the time when the clock is right.",
       rolled(), {**signed, "time": EXP + 10 * DAY})
    at("set back, and the clock is right a second before exp", "It is active for a second then.",
       rolled(EXP - 1), {**signed, "time": EXP - 1 + HOUR})
    at("set back, and the clock is right at exp", "It has ended then.", rolled(),
       {**signed, "time": EXP + HOUR})
    at("set back, and overdue at the right time", "Then it is valid, so it changes.",
       rolled(EXP + DAY), {**signed, "time": EXP + DAY + HOUR},
       changes={"on_end": {"mode": "warn"}})
    at("set back, for a revoked license", "clock_rolled_back comes first, and it is revoked then.",
       rolled(), {**signed, "time": NOW + DAY}, changes=listed(), status=status_list([42]))
    at("set back, a list that is too old then", "stale_status then, so never valid.",
       rolled(), {**signed, "time": NOW + 9 * DAY}, changes=listed(), status=status_list(),
       max_status_age=DAY)
    at("set back, a list that is fresh then", "It is valid then.",
       rolled(NOW + DAY - HOUR), {**signed, "time": NOW + DAY}, changes=listed(),
       status=status_list(), max_status_age=DAY)
    at("set back, for another device", "It is another device then too.", rolled(),
       {**signed, "time": NOW + DAY}, changes={"cnf": {"jkt": "x"}})
    at("set back, for an uncovered build", "It is uncovered then too.",
       refused("clock_rolled_back", updates_until=1), {**signed, "time": NOW + DAY},
       changes={"updates_until": 1}, build=2)
    at("set back, and a bundle that has ended then", "The key is unknown then.", rolled(),
       {**signed, "time": NOW + 9 * DAY}, trust=BY_ROOT, keys=bundle(exp=NOW + DAY))
    at("set back, and a bundle that has not ended then", "It is valid then.",
       rolled(NOW + 9 * DAY - HOUR), {**signed, "time": NOW + 9 * DAY}, trust=BY_ROOT,
       keys=bundle(exp=NOW + 10 * DAY))
    old = bundle(seq=2)
    at("set back, and of two bundles the newer has ended then",
       "The older one does not take its place: memory has the newer seq.", rolled(),
       {**signed, "time": NOW + 9 * DAY}, trust=BY_ROOT, keys=bundle(exp=NOW + DAY),
       license=dumps({"license": license_(), "keys": old}))
    at("set back, and of two bundles the older has ended then", "The newer one counts.",
       rolled(NOW + 9 * DAY - HOUR), {**signed, "time": NOW + 9 * DAY}, trust=BY_ROOT,
       keys=bundle(), license=dumps({"license": license_(), "keys": bundle(seq=2, exp=NOW + 1)}))
    at("of two bundles the newer ends before the token",
       "The older one does not take its place: memory has the newer seq.",
       active(changes_at=NOW + DAY), signed, trust=BY_ROOT, keys=bundle(exp=NOW + DAY),
       license=dumps({"license": license_(), "keys": old}))
    at("set back before the beginning", "not_yet_valid comes first.",
       refused("not_yet_valid", changes_at=ISSUED - 60), {**signed, "time": NOW},
       now=ISSUED - 61)
    at("set back, for another product", "wrong_audience comes first.", refused("wrong_audience"),
       {**signed, "time": NOW + DAY}, changes={"aud": "other"})
    book.case("no memory", "Without memory, a clock that was set back is not noticed.")
    at("a list of tomorrow", "Only what was remembered before counts.", active(), signed,
       {"signed": NOW + DAY,
        "lists": {"https://acme.example/status/1":
                  {"iat": NOW + DAY, "revoked": []}}},
       changes=listed(), status=status_list(iat=NOW + DAY))
    at("a bundle of tomorrow", "Only what was remembered before counts.", active(), signed,
       {"signed": NOW + DAY, "keys_seq": 3}, trust=BY_ROOT, keys=bundle(iat=NOW + DAY))
    return book


def healed():
    book = Book("clock-healed")

    def issued(iat):
        return license_({**LONG, "iat": iat, "nbf": iat})

    fine = active(changes_at=LONG["exp"])

    def at(name, why, iat, heals, remembered=None, now=NOW):
        before = memory(**{"time": FAR, "signed": ISSUED, **(remembered or {})})
        after = {**before, "seq": {CUSTOMER: 7}, "signed": max(iat, before["signed"])}
        after["time"] = now if heals else before["time"]
        book.case(name, why, license=issued(iat), memory=before, now=now, remember=after,
                  expect=fine if heals else rolled())

    why = "A license with a later iat, within a day of the clock, shows that the clock is right."
    at("a license of now", why, NOW, True)
    at("a license of a minute ago", why, NOW - 60, True)
    at("a license of a minute ahead", why, NOW + 60, True)
    at("a license a day old", why, NOW - DAY, True, {"signed": 1})
    at("a license a day and a second old", "It is more than a day from the clock.", NOW - DAY - 1,
       False, {"signed": 1})
    at("the license that is known", "Its iat is not later than any remembered.", ISSUED, False)
    at("a license a second later than known", why, ISSUED + 1, True, now=ISSUED + 10)
    at("an older license", "Its iat is not later than any remembered.", ISSUED - 1000, False)
    at("a later license than the list or bundle known", why, NOW - 10, True, {"signed": NOW - 11})
    at("an earlier license than the list or bundle known", "Something later was remembered.",
       NOW - 10, False, {"signed": NOW - 10})
    at("remembered an hour and a second ahead", why, NOW, True, {"time": NOW + HOUR + 1})
    why = "It does not count as set back, so there is nothing to heal."
    book.case("remembered an hour ahead", why, license=issued(NOW), expect=fine,
              memory=memory(time=NOW + HOUR, signed=ISSUED),
              remember=memory(time=NOW + HOUR, signed=NOW, seq={CUSTOMER: 7}))
    early = license_({**LONG, "iat": NOW + 2 * HOUR, "nbf": NOW + 2 * HOUR})
    book.case("healed, although too early", "The server has confirmed the day; time becomes now.",
              license=early, memory=memory(time=FAR, signed=ISSUED),
              expect=refused("not_yet_valid", changes_at=NOW + 2 * HOUR - 60),
              remember=memory(time=NOW, signed=NOW + 2 * HOUR, seq={CUSTOMER: 7}))
    book.case("healed, although the token is out", "It verified.", memory=memory(time=FAR),
              license=license_({"iat": NOW, "nbf": NOW, "exp": NOW}),
              expect=refused("token_expired"),
              remember=memory(time=NOW, signed=NOW, seq={CUSTOMER: 7}))
    book.case("not healed by another product's license", "It is not this app's license.",
              license=license_({"iat": NOW, "nbf": NOW, "aud": "other"}),
              memory=memory(time=FAR), expect=refused("wrong_audience"),
              remember=memory(time=FAR))
    book.case("healed, with a newer list", "The list's iat was not remembered before.",
              license=license_({**LONG, **listed(), "iat": NOW - 60, "nbf": NOW - 60}),
              status=status_list(iat=NOW - 5), memory=memory(time=FAR, signed=ISSUED),
              expect=fine, remember=memory(time=NOW, signed=NOW - 5, seq={CUSTOMER: 7}, lists={
                  "https://acme.example/status/1":
                  {"iat": NOW - 5, "revoked": []}}))
    book.case("healed, with a newer bundle", "The bundle's iat was not remembered before.",
              trust=BY_ROOT, keys=bundle(iat=NOW - 5), license=issued(NOW - 60), expect=fine,
              memory=memory(time=FAR, signed=ISSUED),
              remember=memory(time=NOW, signed=NOW - 5, keys_seq=3, seq={CUSTOMER: 7}))
    book.sequence("a clock that was years ahead", "The next refresh heals it.", [
        step(fine, why="All is well."),
        step(refused("token_expired"), now=FAR, why="The battery fails: the year 2095.",
             remember=memory(time=FAR, signed=ISSUED, seq={CUSTOMER: 7})),
        step(rolled(), now=NOW + 100, why="The clock is right again, with the old license."),
        step(fine, now=NOW + 200, license=issued(NOW + 130), why="The app refreshes.",
             remember=memory(time=NOW + 200, signed=NOW + 130, seq={CUSTOMER: 7})),
        step(fine, now=NOW + 300, license=issued(NOW + 130), why="It stays healed."),
        step(fine, now=NOW + 400, why="Even the old license works: time was lowered."),
        step(rolled(NOW + 400 - HOUR), now=NOW - HOUR + 399, why="A clock set back is noticed."),
    ], license=issued(ISSUED))
    book.sequence("a clock that is set back to keep a trial", "The trial has ended.", [
        step(active(trial=True, changes_at=NOW + DAY), now=NOW),
        step(refused("license_expired", trial=True), now=NOW + 2 * DAY),
        step(refused("clock_rolled_back", trial=True), now=NOW, why="Set back by two days."),
        step(refused("license_expired", trial=True), now=NOW + 2 * DAY - HOUR),
        step(active(trial=True, changes_at=NOW + DAY), now=NOW, memory=None,
             why="A user who also deletes the memory has the day again."),
    ], license=license_({"trial": True, "exp": NOW + DAY, "license_expires": NOW + DAY}))
    year = NOW + 365 * DAY
    ahead = memory(time=NOW, signed=year, keys_seq=3, seq={CUSTOMER: 7})
    book.sequence("a bundle of next year", "The clock was set back, or the server's was ahead.", [
        step(fine, keys=bundle(iat=year), remember=ahead,
             why="Only what was remembered before counts."),
        step(rolled(year - HOUR), keys=bundle(iat=year), now=NOW + 60,
             remember={**ahead, "time": NOW + 60}, why="Memory has a time of next year."),
        step(rolled(year - HOUR), keys=bundle(seq=4), now=NOW + 120, license=issued(NOW + 60),
             why="A right bundle and a fresh license do not show which clock was wrong."),
        step(fine, keys=bundle(seq=4), now=year - HOUR, license=issued(NOW + 60),
             why="The clock is right."),
        step(fine, keys=bundle(seq=4), now=NOW + 180, license=issued(NOW + 60), memory=None,
             why="Without the memory, nothing shows that a clock was wrong."),
    ], license=issued(ISSUED), trust=BY_ROOT)
    lists = {LIST_URI: {"iat": NOW - HOUR, "revoked": [42]}}
    named = {**LONG, **listed()}
    book.sequence("a year 10000 does not undo a revocation", "Memory stays readable.", [
        step(refused("revoked"), status=status_list([42]), why="The list revokes the license.",
             remember=memory(time=NOW, signed=NOW - HOUR, seq={CUSTOMER: 7}, lists=lists)),
        step(refused("revoked"), now=LAST + 1, why="The user sets the clock; the list is gone.",
             remember=memory(time=LAST, signed=NOW - HOUR, seq={CUSTOMER: 7}, lists=lists)),
        step(rolled(), now=NOW + 60, why="The clock is right again, and memory was not lost.",
             remember=memory(time=LAST, signed=NOW - HOUR, seq={CUSTOMER: 7}, lists=lists)),
        step(refused("revoked"), now=NOW + 120, why="The app refreshes, which heals the clock.",
             license=license_({**named, "iat": NOW + 60, "nbf": NOW + 60})),
    ], license=license_({**named, "iat": ISSUED, "nbf": ISSUED}))
    book.sequence("a license of the future does not heal", "It is too early for it.", [
        step(refused("token_expired"), now=FAR),
        step(refused("not_yet_valid", changes_at=NOW + 9 * DAY - 60), now=NOW,
             license=issued(NOW + 9 * DAY)),
        step(rolled(), now=NOW, why="The known license shows nothing new."),
    ], license=license_({**LONG, "exp": NOW + 8000 * DAY}))
    return book


def sweeps():
    book = Book("clock-sweep")
    begin, end = ISSUED - 60, NOW + 50 * DAY
    license = license_({"exp": end, "license_expires": end})
    warn = license_({"exp": end, "license_expires": end, "on_end": {"mode": "warn"}})
    times = [0, 1, ISSUED - 400 * DAY, ISSUED - DAY, begin - 1, begin, ISSUED, NOW - DAY,
             NOW - HOUR, NOW - 1, NOW, NOW + 1, NOW + HOUR, NOW + DAY, end - DAY,
             end - HOUR - 1, end - HOUR, end - 1, end, end + 1, end + HOUR, end + DAY,
             end + 400 * DAY, 4_294_967_296, 253_402_300_799]
    early = refused("not_yet_valid", changes_at=begin)

    def verdict(now, limit, at_limit, active_verdict, ended):
        """The expected verdict at a time; `limit` is where the clock counts as right."""
        if now < begin:
            return early
        if now < limit:
            return rolled(at_limit)
        return active_verdict if now < end else ended

    for name, why, time, signed, at_limit in [
            ("nothing remembered", "Only the license's own times count.", 0, 0, None),
            ("remembered long ago", "Only the license's own times count.", ISSUED, ISSUED, None),
            ("remembered now", "Earlier than an hour before now, the clock was set back.", NOW,
             ISSUED, NOW - HOUR),
            ("signed now", "Earlier than an hour before the latest iat, it was set back.", ISSUED,
             NOW, NOW - HOUR),
            ("remembered a day before the end", "The license is still valid there.", end - DAY,
             ISSUED, end - DAY - HOUR),
            ("remembered at the end", "An hour before, the license is valid.", end, ISSUED,
             end - HOUR),
            ("remembered after the end", "The license is over there.", end + DAY, ISSUED, None)]:
        limit = max(time, signed) - HOUR
        fine = active(changes_at=end)
        steps = [step(verdict(now, limit, at_limit, fine, refused("license_expired")), now=now,
                      memory=memory(time=time, signed=signed)) for now in times]
        book.sequence(f"sweep, {name}", why, steps, license=license)
    limit = end + DAY - HOUR
    steps = [step(verdict(now, limit, limit, None, over("overdue", "license_expired")), now=now,
                  memory=memory(time=end + DAY, signed=ISSUED)) for now in times]
    book.sequence("sweep, overdue, remembered after the end", "It is valid there, with a warning.",
                  steps, license=warn)
    return book
