"""Counts the line of the demo's year again, in SQL from what was sent, and compares with what the server said.

    python recount.py RECORD

RECORD is a folder that `throughline demo --record RECORD` wrote. Ends with 3 if anything differs.
"""

import json
import sys
import time
from pathlib import Path

import duckdb

TOLD_MAX = 20
# Of the exit codes, the one that says that all was counted and something differs.
DIFFERS = 3
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# The demo's settings of the line and of suppression, and for how long figures are open.
SETTINGS = {
    "day_us": DAY_US,
    "view_us": DAY_US,
    "click_us": 7 * DAY_US,
    "cap": 10,
    "cap_window_us": DAY_US,
    "duplicate_us": DAY_US,
    "grace_us": 0,
    "suppressed_us": 30 * DAY_US,
    "open_us": 14 * DAY_US,
}
# What the demo never sends. A record that has it is none that this recount knows how to count.
STRANGE = {
    "orders that change, mails, or payments": """
        select count(*) from event where name in
            ('Order Updated', 'Order Refunded', 'Order Cancelled', 'Email Opened', 'Email Link Clicked')""",
    "ads without a name of a household": "select count(*) from event where name like 'Ad %' and user_id is null",
    "other currencies": """
        select (select count(*) from touch where currency <> 'USD')
            + (select count(*) from purchase where currency <> 'USD')""",
    "orders that only a browser told of": "select count(*) from purchase where door <> 'server'",
    "ads or orders that came when their figures were settled": """
        select count(*) from fact
        where (name like 'Ad %' or name like 'Order %') and t - at_us > getvariable('open_us')""",
    "events without a name on a shared device": """
        with shared as (
            select anonymous_id from event where user_id is not null and anonymous_id is not null
            group by 1 having count(distinct user_id) > 1
        ) select count(*) from event semi join shared using (anonymous_id) where user_id is null""",
}
QUANTILES = ("p50", "p90", "p99")


def load(db, folder):
    """Computes every figure from `requests.ndjson`: tables `counted` and `timed`."""
    for name, value in SETTINGS.items():
        db.execute(f"set variable {name} = {value}::bigint")
    requests = "'" + str(folder / "requests.ndjson").replace("'", "''") + "'"
    db.execute((Path(__file__).parent / "line.sql").read_text(encoding="utf-8").replace("$requests", requests))
    for what, count in STRANGE.items():
        if db.execute(count).fetchone()[0]:
            sys.exit(f"the record has {what}: this recount does not know how to count them")


def answers(folder):
    """What the server said: figures by (kind, part)."""
    said = {}
    with open(folder / "line.ndjson", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            total = ("total", "")
            if said.setdefault(total, one["answer"]["total"]) != one["answer"]["total"]:
                sys.exit("the server's answers differ from each other in their totals")
            for bucket in one["answer"]["by"]:
                part = bucket["from"][:10] if one["by"] == "day" else bucket["campaign"]
                said[(one["by"], part)] = bucket["figures"]
    return said


class Comparison:
    """Counts what was compared, and tells what differs."""

    def __init__(self):
        self.exact = self.quantiles = self.wrong = 0

    def tell(self, where, what, theirs, ours):
        self.wrong += 1
        if self.wrong <= TOLD_MAX:
            print("DIFFERENCE", " ".join(where).strip(), what, f"is {theirs} for the server and {ours} for the recount")

    def number(self, where, what, theirs, ours):
        self.exact += 1
        if theirs != ours:
            self.tell(where, what, theirs, ours)

    def quantile(self, where, what, theirs_ms, ours_us):
        """Wrong by at most 1/64 of itself; an answer has whole milliseconds."""
        self.quantiles += 1
        if abs(theirs_ms * 1000 - ours_us) > ours_us / 64 + 1000:
            self.tell(where, what, f"{theirs_ms} ms", f"{ours_us / 1000} ms")


def compare(db, said):
    """Holds every figure that either of the two has against the other's."""
    comparison = Comparison()
    counted, timed = {}, {}
    for kind, part, name, amount in db.execute("select * from counted").fetchall():
        counted[(kind, part, name)] = amount
    for kind, part, name, *figures in db.execute("select * from timed").fetchall():
        timed[(kind, part, name)] = figures
    theirs_of = {
        (*where, name): count for where, figures in said.items() for name, count in figures["counts"].items()
    }
    for where in sorted(counted.keys() | theirs_of.keys()):
        comparison.number(where[:2], where[2], theirs_of.get(where, 0), counted.get(where, 0))
    spans_of = {
        (*where, name): span for where, figures in said.items() for name, span in figures["cycle_time"]["spans"].items()
    }
    for where in sorted(timed.keys() | spans_of.keys()):
        theirs, ours = spans_of.get(where), timed.get(where)
        count = ours[0] if ours else 0
        comparison.number(where[:2], f"count of {where[2]}", theirs["count"] if theirs else 0, count)
        if theirs and ours:
            comparison.number(where[:2], f"mean of {where[2]}", theirs["mean_ms"], ours[1])
            for name, ours_us in zip(QUANTILES, ours[2:], strict=True):
                comparison.quantile(where[:2], f"{name} of {where[2]}", theirs[f"{name}_ms"], ours_us)
    return comparison


def main():
    began = time.monotonic()
    folder = Path(sys.argv[1])
    db = duckdb.connect()
    load(db, folder)
    said = answers(folder)
    comparison = compare(db, said)
    print(f"{'figure':<30}{'the year, for the recount':>26}")
    for name, count in db.execute("select name, amount from counted where kind = 'total' order by 1").fetchall():
        print(f"{name:<30}{count:>26,}")
    print(f"{'span':<30}{'count':>10}{'p50 s':>14}{'p90 s':>14}{'p99 s':>14}")
    spans = db.execute("""
        select name, count, p50_us, p90_us, p99_us from timed where kind = 'total' order by 1
    """)
    for name, count, *quantiles in spans.fetchall():
        print(f"{name:<30}{count:>10,}" + "".join(f"{us / 1e6:>14,.3f}" for us in quantiles))
    events = db.execute("select count(*) from event").fetchone()[0]
    days, campaigns = (sum(kind == which for kind, _ in said) for which in ("day", "campaign"))
    print(
        f"recount: {events:,} events; the year, {days} days and {campaigns} campaigns: {comparison.exact:,} counts, "
        f"amounts and means and {comparison.quantiles:,} quantiles compared; {comparison.wrong:,} differences; "
        f"{time.monotonic() - began:.1f} s"
    )
    needed = {"orders_with_attention", "scrap_invalid", "scrap_purchased", "journeys_ended", "people_paid", "clicks"}
    missing = ", ".join(sorted(needed - said[("total", "")]["counts"].keys()))
    if missing or not days or campaigns < 2:
        sys.exit(f"the server counted nothing of {missing or 'any day or campaign'}: nothing is proved")
    if comparison.wrong:
        sys.exit(DIFFERS)


main()
