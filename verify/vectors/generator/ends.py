"""What remains at the end, builds, and devices."""

from .base import (DAY, DEVICE, EXP, EXPIRES, FEATURES, LIMITS, NOW, OTHER_DEVICE, Book, active,
                   grace, license_, listed, over, refused, status_list, step)

END = EXPIRES + 14 * DAY
LATE = 2 * END
LIMITED = {"mode": "limited", "features": ["open"], "limits": {"projects": 1}}
WARN = {"mode": "warn"}


def books():
    return [on_end(), updates(), devices()]


def on_end():
    book = Book("on_end")
    left = {"features": ["open"], "limits": {"projects": 1}}
    modes = [("stop", {"mode": "stop"}, refused("token_expired"), refused("license_expired")),
             ("limited", LIMITED, over("limited", "token_expired", **left),
              over("limited", "license_expired", **left)),
             ("warn", WARN, over("overdue", "token_expired"), over("overdue", "license_expired"))]
    for mode, value, out, ended in modes:
        book.case(f"{mode}, a second before the token ends", "Nothing has ended.",
                  license=license_({"on_end": value}), now=EXP - 1)
        book.case(f"{mode}, token out", "on_end applies without a refresh.",
                  license=license_({"on_end": value}), now=EXP, expect=out)
        book.case(f"{mode}, over", "on_end applies when the license is over.", expect=ended,
                  license=license_({"on_end": value, "exp": LATE}), now=EXPIRES)
        book.case(f"{mode}, over and token out", "Over comes first.", expect=ended,
                  license=license_({"on_end": value}), now=EXPIRES)
        book.case(f"{mode}, long after", "It is a promise without an end.", expect=ended,
                  license=license_({"on_end": value}), now=NOW + 30_000 * DAY)
        book.case(f"{mode}, in grace", "Grace is not the end.", expect=grace(changes_at=END),
                  license=license_({"on_end": value, "exp": LATE, "grace_until": END}),
                  now=EXPIRES)
        book.case(f"{mode}, too early", "on_end does not apply before the beginning.",
                  license=license_({"on_end": value, "nbf": NOW + 1000}),
                  expect=refused("not_yet_valid", changes_at=NOW + 940))
        book.case(f"{mode}, over, revoked", "on_end never overrides a revocation.",
                  license=license_({"on_end": value, **listed()}), status=status_list([42]),
                  now=EXPIRES, expect=refused("revoked"))
        book.case(f"{mode}, over, list too old", "on_end never overrides a missing list.",
                  license=license_({"on_end": value, **listed()}), max_status_age=DAY,
                  now=EXPIRES, expect=refused("stale_status"))
        book.case(f"{mode}, over, another device", "on_end never overrides the device.",
                  license=license_({"on_end": value, "cnf": {"jkt": DEVICE}}),
                  device=OTHER_DEVICE, now=EXPIRES, expect=refused("wrong_device"))
        book.case(f"{mode}, over, an uncovered build", "on_end never overrides updates_until.",
                  license=license_({"on_end": value, "updates_until": NOW}), build=NOW + 1,
                  now=EXPIRES, expect=refused("update_not_covered", updates_until=NOW))
        book.case(f"{mode}, for another product", "on_end is not a free license.",
                  license=license_({"on_end": value, "aud": "other"}), now=EXPIRES,
                  expect=refused("wrong_audience"))
    book.case("limited, nothing given", "Absent means empty, not the license's own.",
              license=license_({"on_end": {"mode": "limited"}}), now=EXP,
              expect=over("limited", "token_expired", features=[], limits={}))
    book.case("limited, only features", "Absent limits are empty.", now=EXP,
              license=license_({"on_end": {"mode": "limited", "features": ["a", "b"]}}),
              expect=over("limited", "token_expired", features=["a", "b"], limits={}))
    book.case("limited, only limits", "Absent features are empty.", now=EXP,
              license=license_({"on_end": {"mode": "limited", "limits": {"seats": 1}}}),
              expect=over("limited", "token_expired", features=[], limits={"seats": 1}))
    book.case("limited to more", "They replace the license's own, even if they are more.", now=EXP,
              license=license_({"on_end": {"mode": "limited", "features": ["all"],
                                           "limits": {"seats": 1000}}}),
              expect=over("limited", "token_expired", features=["all"], limits={"seats": 1000}))
    book.case("limited to the same", "The state changes all the same.", now=EXP,
              license=license_({"on_end": {"mode": "limited", "features": FEATURES,
                                           "limits": LIMITS}}),
              expect=over("limited", "token_expired"))
    book.case("warn with features", "They have no effect in this mode.", now=EXP,
              license=license_({"on_end": {**LIMITED, "mode": "warn"}}),
              expect=over("overdue", "token_expired"))
    book.case("stop with features", "They have no effect in this mode.", now=EXP,
              license=license_({"on_end": {**LIMITED, "mode": "stop"}}),
              expect=refused("token_expired"))
    book.case("limited while active", "They have no effect before the end.",
              license=license_({"on_end": LIMITED}))
    book.case("a trial that warns", "Trials have an end too.", now=EXP,
              license=license_({"on_end": WARN, "trial": True}),
              expect=over("overdue", "token_expired", trial=True))
    book.sequence("overdue from token out to over", "Only the code changes, so changes_at is null.",
                  [step(over("overdue", "token_expired"), now=EXP),
                   step(over("overdue", "token_expired"), now=EXPIRES - 1),
                   step(over("overdue", "license_expired"), now=EXPIRES)],
                  license=license_({"on_end": WARN}))
    return book


def updates():
    book = Book("updates")

    def at(name, why, build, expect=None, **changes):
        changes = {"updates_until": NOW, **changes}
        book.case(name, why, license=license_(changes), build=build,
                  expect=expect or active(updates_until=NOW))

    at("a build at exactly that time", "It is covered.", NOW)
    at("a build a second later", "It is not covered.", NOW + 1,
       refused("update_not_covered", updates_until=NOW))
    at("an old build", "It is covered.", 1)
    at("a build of 1970", "0 is a time.", 0)
    at("a build of the year 9999", "It is not covered.", 253_402_300_799,
       refused("update_not_covered", updates_until=NOW))
    book.case("no build given", "Then nothing is compared.",
              license=license_({"updates_until": 1}), expect=active(updates_until=1))
    book.case("no updates_until", "All builds are covered.", build=253_402_300_799)
    book.case("updates_until 0", "It covers only a build of 1970.", build=1,
              license=license_({"updates_until": 0}),
              expect=refused("update_not_covered", updates_until=0))
    book.case("a covered build years later", "The clock plays no part.", build=NOW,
              license=license_({"updates_until": NOW, "license_expires": None,
                                "exp": NOW + 9999 * DAY}), now=NOW + 9000 * DAY,
              expect=active(updates_until=NOW, changes_at=NOW + 9999 * DAY))
    at("not covered and over", "update_not_covered comes before the end.", NOW + 1,
       refused("update_not_covered", updates_until=NOW), exp=NOW, license_expires=NOW)
    at("not covered and another device", "wrong_device comes first.", NOW + 1,
       refused("wrong_device", updates_until=NOW), cnf={"jkt": DEVICE})
    at("not covered and too early", "not_yet_valid comes first.", NOW + 1,
       refused("not_yet_valid", updates_until=NOW, changes_at=NOW + 40), nbf=NOW + 100)
    at("covered and for another product", "updates_until is told all the same.", NOW,
       refused("wrong_audience", updates_until=NOW), aud="other")
    return book


def devices():
    book = Book("devices")
    bound = {"cnf": {"jkt": DEVICE}}

    def at(name, why, expect=None, changes=None, **inputs):
        book.case(name, why, license=license_(changes or bound), expect=expect, **inputs)

    at("the right device", "It has the key that the license names.", device=DEVICE)
    at("another device", "It has another key.", refused("wrong_device"), device=OTHER_DEVICE)
    at("no device given", "A license for one device is not valid on an unknown one.",
       refused("wrong_device"))
    at("an empty device", "It is no device.", refused("wrong_device"), device="")
    at("another case", "Thumbprints are compared exactly.", refused("wrong_device"),
       device=DEVICE.swapcase())
    at("padding", "Thumbprints are compared exactly.", refused("wrong_device"),
       device=DEVICE + "=")
    at("a blank", "Thumbprints are compared exactly.", refused("wrong_device"),
       device=DEVICE + " ")
    at("a beginning", "Thumbprints are compared exactly.", refused("wrong_device"),
       device=DEVICE[:-1])
    at("jkt in another form", "It is any text.", device="device 1",
       changes={"cnf": {"jkt": "device 1"}})
    book.case("a license for any device", "Without cnf, the device plays no part.", device=DEVICE)
    at("another device, over", "wrong_device comes before the end.", refused("wrong_device"),
       {**bound, "exp": NOW}, device=OTHER_DEVICE)
    at("another device, revoked", "revoked comes first.", refused("revoked"),
       {**bound, **listed()}, device=OTHER_DEVICE, status=status_list([42]))
    at("another device, list missing", "stale_status comes first.", refused("stale_status"),
       {**bound, **listed()}, device=OTHER_DEVICE, max_status_age=DAY)
    return book
