"""The rules of the demo's audiences in SQL, written from docs/audiences.md alone.

A rule is a condition over numbers. Each number is a sum of steps: (timeline, t, seq, step). An event that enters a
window is a step up at its place, and a step down, with seq -1, at the instant at which its granule leaves the window.
"""

HOUR = 3_600_000_000
DAY = 24 * HOUR
# The table of windows in docs/audiences.md: granule and parts.
WINDOWS = {"7d": (6 * HOUR, 28), "30d": (DAY, 30), "90d": (3 * DAY, 30)}
LATEST = 16


def _steps(facts, end):
    return f"""
        with f as ({facts}), placed as (select *, {end} as ends from f)
        select timeline, t, seq, amount as step from placed where ends is null or ends > t
        union all
        select timeline, ends, -1, -amount from placed where ends > t
    """


def _facts(name, where, amount):
    return f"select timeline, t, seq, occurred_us, {amount} as amount from fact where name = '{name}' and ({where})"


def ever(name, where="true", amount="1"):
    """Over all time."""
    return _steps(_facts(name, where, amount), "null::bigint")


def within(window, name, where="true", amount="1"):
    """In a sliding window."""
    granule, parts = WINDOWS[window]
    return _steps(_facts(name, where, amount), f"(occurred_us // {granule} + {parts} + 1) * {granule}")


def younger(length, name):
    """Events that are less than a length of time ago, to the microsecond."""
    return _steps(_facts(name, "true", "1"), f"occurred_us + {length}")


def distinct(window, name, where="true"):
    """Different categories in a sliding window: each has steps of its own, and counts while it is above zero."""
    granule, parts = WINDOWS[window]
    return f"""
        with f as (
            select timeline, t, seq, unnest(categories) as one,
                (occurred_us // {granule} + {parts} + 1) * {granule} as ends
            from fact where name = '{name}' and ({where})
        ), step as (
            select timeline, one, t, seq, 1 as step from f where ends > t
            union all select timeline, one, ends, -1, -1 from f where ends > t
        ), place as (
            select timeline, one, t, seq, sum(step) as step from step group by all
        ), there as (
            select timeline, one, t, seq, (sum(step) over (partition by timeline, one order by t, seq) > 0)::int as is
            from place
        )
        select timeline, t, seq, "is" - lag("is", 1, 0) over (partition by timeline, one order by t, seq) as step
        from there
    """


def _turns(states):
    """Steps of a condition from `states`: (timeline, t, seq, until_us), true until then."""
    return f"""
        with states as ({states}), one as (
            select timeline, t, seq, any_value(until_us) as until_us from states group by timeline, t, seq
        ), next as (
            select *, lead(t) over (partition by timeline order by t, seq) as next_t from one
        ), turn as (
            select timeline, t, seq, coalesce(until_us > t, false)::int as holds from next
            union all
            select timeline, until_us, -1, 0 from next where until_us > t and (next_t is null or until_us <= next_t)
        )
        select timeline, t, seq, holds - lag(holds, 1, 0) over (partition by timeline order by t, seq) as step from turn
    """


FOREVER = 1 << 61


def last_value(name, condition):
    """Whether the value in the latest event that has one meets a condition. Of two at once the larger is taken."""
    return _turns(f"""
        select timeline, t, seq, case when latest.amount {condition} then {FOREVER} end as until_us from (
            select timeline, t, seq, max({{'happened': occurred_us, 'amount': value}})
                over (partition by timeline order by t, seq) as latest
            from fact where name = '{name}' and value is not null)
    """)


def funnel(steps, length, unless=None, lasting=None):
    """A funnel of (name, condition); with `lasting`, whether it was completed less than that ago."""
    marks = [*steps, *([unless] if unless else [])]
    names = " union all ".join(
        f"select timeline, t, seq, occurred_us, {number} as step from fact where name = '{name}' and ({where})"
        for number, (name, where) in enumerate(marks)
    )
    lists = ", ".join(
        f"coalesce(max(occurred_us, {LATEST}) filter (where step = {number} and is_new) over place, []) as times_{number}"
        for number in range(len(marks))
    )
    reached = "start"
    for number in range(1, len(steps)):
        reached = (
            f"list_min(list_filter(times_{number}, lambda at_{number}: "
            f"at_{number} > {reached} and at_{number} <= start + {length}))"
        )
    starts = "times_0"
    if unless:
        broken = f"list_filter(times_{len(steps)}, lambda bad: bad between start and start + {length})"
        starts = f"list_filter(times_0, lambda start: len({broken}) = 0)"
    until = str(FOREVER) if lasting is None else f"completed_us + {lasting}"
    return _turns(f"""
        with mark as ({names}), new as (
            -- Different times: one that came before is no new one.
            select *, row_number() over (partition by timeline, step, occurred_us order by t, seq) = 1 as is_new
            from mark
        ), remembered as (
            select timeline, t, seq, {lists} from new window place as (partition by timeline order by t, seq)
        ), completed as (
            select timeline, t, seq, list_max(list_transform({starts}, lambda start: {reached})) as completed_us
            from remembered
        )
        select timeline, t, seq, case when completed_us is not null then {until} end as until_us from completed
    """)


ORDER = "Order Completed"
USD = "currency = 'USD'"
PATH = [("Product Viewed", "true"), ("Product Added", "true")]
LAPSED = {"ever": ever(ORDER), "recent": younger(30 * DAY, ORDER)}
LAPSED_HOLDS = "ever > 0 and recent = 0"

# By the text of the rule: its numbers, and the condition. A rule that is not here is an error.
RULES = {
    'count("Order Completed", "30d") >= 4': ({"orders": within("30d", ORDER)}, "orders >= 4"),
    'sum("Order Completed", "value", "30d") > 200': ({"spent": within("30d", ORDER, amount="value")}, "spent > 200"),
    'sum("Order Completed", "value", "30d", currency == "USD") > 200': (
        {"spent": within("30d", ORDER, USD, "value")},
        "spent > 200",
    ),
    'count("Order Completed", "90d", category == "SOFT DRINKS") >= 3': (
        {"orders": within("90d", ORDER, "list_contains(categories, 'SOFT DRINKS')")},
        "orders >= 3",
    ),
    'count("Order Completed", "90d", category == "CIGARETTES") > 0': (
        {"orders": within("90d", ORDER, "list_contains(categories, 'CIGARETTES')")},
        "orders > 0",
    ),
    'count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0': (
        {"added": within("7d", "Product Added"), "orders": within("7d", ORDER)},
        "added > 0 and orders = 0",
    ),
    'since(funnel_at(["Product Viewed", "Product Added", "Order Completed"], "1h")) < duration("7d")': (
        {"done": funnel([*PATH, (ORDER, "true")], HOUR, lasting=7 * DAY)},
        "done > 0",
    ),
    'since(funnel_at(["Product Viewed", "Product Added", event("Order Completed", currency == "USD")], "1h"))'
    ' < duration("7d")': ({"done": funnel([*PATH, (ORDER, USD)], HOUR, lasting=7 * DAY)}, "done > 0"),
    'since(funnel_at(["Product Viewed", "Product Added"], "30m", ["Order Completed"])) < duration("3d")': (
        {"done": funnel(PATH, HOUR // 2, unless=(ORDER, "true"), lasting=3 * DAY)},
        "done > 0",
    ),
    'funnel([event("Promotion Viewed", name == "Type A"), "Coupon Applied"], "30d")': (
        {
            "done": funnel(
                [("Promotion Viewed", "properties ->> '$.name' = 'Type A'"), ("Coupon Applied", "true")], 30 * DAY
            )
        },
        "done > 0",
    ),
    'since(last_at("Order Completed")) >= duration("30d")': (LAPSED, LAPSED_HOLDS),
    'audience("lapsed") && sum("Order Completed", "value") > 1000': (
        {**LAPSED, "spent": ever(ORDER, amount="value")},
        f"{LAPSED_HOLDS} and spent > 1000",
    ),
    # What browsers say: a grant is a claim that counts where nobody ever withdrew.
    'consent("Advertising") && count("Product Viewed", "30d") >= 10': (
        {
            "granted": ever("identify", "advertising = 'true'"),
            "withdrawn": ever("identify", "advertising = 'false'"),
            "viewed": within("30d", "Product Viewed"),
        },
        "granted > 0 and withdrawn = 0 and viewed >= 10",
    ),
    'distinct("Order Completed", "category", "30d") >= 30': ({"kinds": distinct("30d", ORDER)}, "kinds >= 30"),
    'distinct("Order Completed", "category", "30d", currency == "USD") >= 30': (
        {"kinds": distinct("30d", ORDER, USD)},
        "kinds >= 30",
    ),
    # The largest is at least 100 exactly if there is one of at least 100.
    'max("Order Completed", "value", "90d") >= 100 && last("Order Completed", "value") < 20': (
        {"large": within("90d", ORDER, "value >= 100"), "small": last_value(ORDER, "< 20")},
        "large > 0 and small > 0",
    ),
    'count("Product Viewed", "30d") > 0 && count("Order Completed") == 0': (
        {"viewed": within("30d", "Product Viewed"), "orders": ever(ORDER)},
        "viewed > 0 and orders = 0",
    ),
}
