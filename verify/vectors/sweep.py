#!/usr/bin/env python3
"""Writes every combination of a license, a memory and a clock, and random walks of clocks.

    python3 sweep.py [WALKS [SEED]] > cases.jsonl

Each line is a sequence of the format of the vectors, with the expected verdicts and memories.
`compare.py` sends them through several verifiers. `expected` decides by the format's rules about
times and memory (sections 6 and 7), for documents that are correct otherwise; it parses no text.
"""

import copy
import itertools
import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generator import base  # noqa: E402
from generator.base import DAY, EXP, ISSUED, LIST_URI, NOW  # noqa: E402
from generator.jose import document, dumps  # noqa: E402

HOUR = 3600
LAST = 253_402_300_799
TEXTS = {}


class World:
    """What an app has at one time: a license, and optionally a bundle, a list and limits."""

    def __init__(self, bundle=None, listed=None, max_status_age=None, **changes):
        self.claims = base.claims(**changes)
        self.max_status_age = max_status_age
        self.bundle = bundle and {
            "iss": base.ISSUER, "iat": NOW - 2 * DAY, "exp": None, "seq": 3, "nbf": 0,
            "key_exp": None, **bundle}
        self.listed = listed and {"iat": NOW - HOUR, "revoked": [], **listed}

    def case(self):
        """Returns the members of a case, without a clock and a memory."""
        case = {"trust": base.BY_ROOT if self.bundle else base.JWKS, "audience": base.AUDIENCE,
                "license": signed("license+jwt", self.claims, base.KEY)}
        if self.bundle:
            key = base.bundle_key(base.KEY, nbf=self.bundle["nbf"], exp=self.bundle["key_exp"])
            claims = {name: self.bundle[name] for name in ("iss", "iat", "exp", "seq")}
            case["keys"] = signed("license-keys+jwt", {**claims, "keys": [key], "revoked": []},
                                  base.ROOT)
        if self.listed:
            case["status"] = base.status_list(self.listed["revoked"], iat=self.listed["iat"])
        if self.max_status_age is not None:
            case["max_status_age"] = self.max_status_age
        return case


def signed(typ, claims, key):
    """Returns a document, signed once."""
    name = typ + dumps(claims)
    if name not in TEXTS:
        TEXTS[name] = document(typ, claims, key)
    return TEXTS[name]


def expected(world, memory, now):
    """Returns the verdict at a time, and the new memory."""
    claims, after = world.claims, copy.deepcopy(memory)
    now = min(max(now, 0), LAST)
    facts = {"updates_until": claims.get("updates_until"), "trial": claims["trial"]}
    bundle = world.bundle
    if bundle:
        has_ended = bundle["exp"] is not None and now >= bundle["exp"]
        if has_ended or bundle["seq"] < memory["keys_seq"]:
            return base.unread("unknown_key"), after
        after["keys_seq"] = bundle["seq"]
        after["signed"] = max(after["signed"], bundle["iat"])
        if not is_in_time(bundle, claims["iat"]):
            return base.refused("key_not_valid", **facts), after

    # The license has verified.
    known = max(memory["time"], memory["signed"])
    is_back = now < known - HOUR
    is_healed = (is_back and claims["iat"] > memory["signed"]
                 and abs(claims["iat"] - now) <= DAY)
    after["time"] = now if is_healed else max(memory["time"], now)
    after["signed"] = max(after["signed"], claims["iat"])
    after["seq"][claims["sub"]] = max(after["seq"].get(claims["sub"], 0), claims["seq"])
    index, listed = None, None
    if "status" in claims:
        index = claims["status"]["status_list"]["idx"]
        listed = counted_list(world, memory, after, index)

    beginning = max(claims["nbf"], claims["iat"]) - 60
    if now < beginning:
        return base.refused("not_yet_valid", changes_at=beginning, **facts), after
    limit = max(after["time"], memory["signed"]) - HOUR
    if now < limit:
        later, _ = expected(world, memory, limit)
        changes_at = limit if later["valid"] else None
        return base.refused("clock_rolled_back", changes_at=changes_at, **facts), after
    return by_time(world, memory, now, index, listed, facts), after


def is_in_time(bundle, iat):
    """Returns whether the bundle's key may sign a document of this iat."""
    return iat + 60 >= bundle["nbf"] and (bundle["key_exp"] is None or iat < bundle["key_exp"])


def counted_list(world, memory, after, index):
    """Returns the list if it counts, and writes it into the new memory."""
    listed, known = world.listed, memory["lists"].get(LIST_URI)
    if not listed or (known and listed["iat"] < known["iat"]):
        return None
    if world.bundle and not is_in_time(world.bundle, listed["iat"]):
        return None
    after["signed"] = max(after["signed"], listed["iat"])
    indexes = {index, *(known or {"revoked": []})["revoked"]}
    after["lists"][LIST_URI] = {
        "iat": listed["iat"], "revoked": sorted(indexes & set(listed["revoked"]))}
    return listed


def by_time(world, memory, now, index, listed, facts):
    """Returns the verdict by the list and the times, for a right clock."""
    claims, age = world.claims, world.max_status_age
    if index is not None:
        known = listed or memory["lists"].get(LIST_URI) or {"revoked": []}
        if index in known["revoked"]:
            return base.refused("revoked", **facts)
        if age is not None and (listed is None or now - listed["iat"] > age):
            return base.refused("stale_status", **facts)
    expires, grace = claims["license_expires"], claims["grace_until"]
    over = None if expires is None else max(expires, grace or 0)
    code = None
    if over is not None and now >= over:
        code = "license_expired"
    elif now >= claims["exp"]:
        code = "token_expired"
    if code:
        return ended(claims, code, facts)
    in_grace = expires is not None and now >= expires
    changes = [claims["exp"], over, None if in_grace else expires]
    if world.bundle:
        changes.append(world.bundle["exp"])
    if listed and age is not None:
        changes.append(listed["iat"] + age + 1)
    changes_at = min(change for change in changes if change is not None)
    if in_grace:
        return base.grace(changes_at=changes_at, **facts)
    warn = now >= changes_at - claims.get("warn_days", 0) * DAY
    return base.active(changes_at=changes_at, warn=warn, **facts)


def ended(claims, code, facts):
    """Returns the verdict when the license is over or its token is out."""
    on_end = claims.get("on_end", {"mode": "stop"})
    if on_end["mode"] == "stop":
        return base.refused(code, **facts)
    if on_end["mode"] == "warn":
        return base.over("overdue", code, **facts)
    return base.over("limited", code, features=on_end.get("features", []),
                     limits=on_end.get("limits", {}), **facts)


LISTED = base.listed()
LIMITED = {"mode": "limited", "features": ["open"], "limits": {"projects": 1}}
WORLDS = [
    World(),
    World(trial=True, exp=NOW + DAY, license_expires=NOW + DAY),
    World(on_end={"mode": "warn"}, warn_days=30),
    World(on_end=LIMITED, exp=NOW + DAY, warn_days=1),
    World(license_expires=NOW - DAY, grace_until=NOW + 7 * DAY, exp=NOW + 7 * DAY),
    World(license_expires=NOW + DAY, grace_until=NOW + 2 * DAY, exp=NOW + 90 * DAY),
    World(license_expires=None, exp=NOW + 9000 * DAY),
    World(license_expires=None, exp=LAST, iat=NOW, nbf=NOW),
    World(iat=NOW + HOUR, nbf=NOW - DAY, on_end=LIMITED),
    World(nbf=NOW + 2 * DAY),
    World(listed={}, max_status_age=DAY, **LISTED),
    World(listed={"revoked": [42]}, **LISTED),
    World(max_status_age=DAY, on_end={"mode": "warn"}, **LISTED),
    World(listed={"iat": NOW + DAY}, max_status_age=0, **LISTED),
    World(bundle={}),
    World(bundle={"exp": NOW + DAY, "iat": NOW - HOUR}, on_end=LIMITED),
    World(bundle={"key_exp": ISSUED + 1}, listed={}, **LISTED),
    World(bundle={"nbf": ISSUED + 61}),
]

MOMENTS = [ISSUED - 60, ISSUED, NOW - DAY, NOW - HOUR, NOW, NOW + HOUR, NOW + DAY, NOW + 2 * DAY,
           NOW + 7 * DAY, EXP, base.EXPIRES]
CLOCKS = sorted({-DAY, -1, 0, 1, NOW - 400 * DAY, NOW + 400 * DAY, NOW + 25_000 * DAY, 2**31, 2**32,
                 LAST, LAST + 1, 2**53 - 1,
                 *(moment + shift for moment in MOMENTS
                   for shift in (-HOUR - 1, -HOUR, -1, 0, 1, 60, HOUR))})


def memories():
    """Returns the memories of the sweep."""
    times = [(0, 0), (NOW, ISSUED), (NOW + HOUR, ISSUED), (NOW + HOUR + 1, ISSUED),
             (ISSUED, NOW + DAY), (NOW + 8 * DAY, ISSUED), (EXP + HOUR, NOW), (LAST, ISSUED - 1),
             (NOW + 25_000 * DAY, NOW - HOUR)]
    result = [base.memory(time=time, signed=latest) for time, latest in times]
    for revoked in ([], [42], [3, 42]):
        lists = {LIST_URI: {"iat": NOW - HOUR + len(revoked), "revoked": revoked}}
        result.append(base.memory(time=NOW, signed=ISSUED, lists=lists, seq={"cust_1": 9}))
    result.append(base.memory(time=NOW + DAY, signed=NOW, keys_seq=3, seq={"cust_2": 1}))
    result.append(base.memory(time=NOW, signed=NOW, keys_seq=4))
    return result


def grid():
    """Yields a sequence for each license and memory: every clock, each time with that memory."""
    for (number, world), (place, memory) in itertools.product(enumerate(WORLDS),
                                                              enumerate(memories())):
        steps = []
        for now in CLOCKS:
            verdict, after = expected(world, memory, now)
            steps.append({"now": now, "memory": dumps(memory),
                          "expect": {**verdict, "memory": after}})
        yield {"name": f"license {number}, memory {place}", **world.case(), "now": NOW,
               "steps": steps}


def walk(number, chance):
    """Returns a sequence in which the clock goes astray, and the app refreshes now and then."""
    world, memory, now = chance.choice(WORLDS), base.memory(), NOW
    astray, steps = 0, []
    for _ in range(25):
        now += chance.choice([1, 60, HOUR, DAY, 10 * DAY])
        if chance.random() < 0.3:
            astray = chance.choice([0, -HOUR, -HOUR - 1, -DAY, -400 * DAY, HOUR, DAY, 9000 * DAY])
        if chance.random() < 0.3:
            world = refreshed(chance.choice(WORLDS), now, chance)
        clock = max(0, now + astray)
        verdict, after = expected(world, memory, clock)
        steps.append({**world.case(), "now": clock, "expect": {**verdict, "memory": after}})
        memory = after
    return {"name": f"walk {number}", "now": NOW, "steps": steps}


def refreshed(world, now, chance):
    """Returns what the server gives at a time: new documents, with their ends as far away."""
    world = copy.deepcopy(world)
    shift = now - NOW
    for name in ("iat", "nbf", "exp", "license_expires", "grace_until"):
        if world.claims[name] is not None:
            world.claims[name] = min(LAST, world.claims[name] + shift)
    world.claims["seq"] += shift // HOUR
    if world.bundle and chance.random() < 0.5:
        world.bundle["seq"] += shift // DAY
        world.bundle["iat"] += shift
        if world.bundle["exp"] is not None:
            world.bundle["exp"] += shift
    if world.listed and chance.random() < 0.5:
        world.listed["iat"] += shift
    return world


def main():
    """Prints the grid, then the walks."""
    walks = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 15)
    for case in itertools.chain(grid(), (walk(number, chance) for number in range(walks))):
        print(json.dumps({"why": "Sections 6 and 7 of the format.", **case}))


if __name__ == "__main__":
    main()
