"""Counts the audiences of the demo's year again, in SQL from what was sent, and compares with what the server said.

    python recount.py RECORD

RECORD is a folder that `throughline demo --record RECORD` wrote. Ends with 3 if anything differs.
"""

import json
import sys
import time
from pathlib import Path

import duckdb

from rules import RULES

TOLD_MAX = 20
# Of the exit codes, the one that says that all was counted and something differs.
DIFFERS = 3


def truth_of(db, numbers, condition):
    """Makes `truth`: (timeline, t, seq, holds, held) at every place where the rule may turn."""
    parts = []
    for name, steps in numbers.items():
        parts.append(f"select timeline, t, seq, '{name}' as name, step::decimal(18, 2) as step from ({steps})")
    # A merge is a place in both timelines even if it changes nothing.
    parts.append("select household, t, seq, null, 0 from merge union all select device, t, seq, null, 0 from merge")
    sums = ", ".join(f"coalesce(sum(step) filter (where name = '{name}'), 0) as {name}" for name in numbers)
    totals = ", ".join(f"sum({name}) over place as {name}" for name in numbers)
    db.execute(f"""
        create or replace temp table truth as
        with step as ({" union all ".join(parts)}),
        place as (
            select s.timeline, s.t, s.seq, any_value(m.seq) as ends_seq, {sums}
            from step s left join merge m on m.device = s.timeline
            -- Behind its merge a device's own timeline is no more.
            where m.seq is null or (s.t, s.seq) <= (m.t, m.seq)
            group by s.timeline, s.t, s.seq
        ), total as (
            select timeline, t, seq, ends_seq, {totals} from place window place as (partition by timeline order by t, seq)
        ), holds as (
            select timeline, t, seq, ({condition}) and ends_seq is distinct from seq as holds from total
        )
        select *, lag(holds, 1, false) over place as held, lead(t) over place as next_t
        from holds window place as (partition by timeline order by t, seq)
    """)


def recount(db, audience):
    """Adds an audience to `turned` and `inside`."""
    db.execute("""
        insert into turned
        select $1, t, (holds and not held)::int, (held and not holds)::int from truth where holds <> held
    """, [audience])
    # So far the household's profile remained. Where the device's did, the household's left everything instead.
    db.execute("""
        insert into turned
        select $1, m.t,
            (not d.held and h.holds)::int - (not h.held and h.holds)::int,
            (d.held and not h.holds)::int + h.held::int - (h.held and not h.holds)::int - d.held::int
        from merge m
        join truth h on h.timeline = m.household and h.seq = m.seq and h.t = m.t
        join truth d on d.timeline = m.device and d.seq = m.seq and d.t = m.t
        where m.device_remains
    """, [audience])
    db.execute("""
        insert into inside
        select $1, i.t, timeline from truth join instant i on truth.t <= i.t and (next_t is null or next_t > i.t)
        where holds
    """, [audience])


def load(db, folder):
    """Reads the record."""
    files = {name: str(folder / f"{name}.ndjson") for name in ("requests", "definitions", "members", "tallies")}
    events = (Path(__file__).parent / "events.sql").read_text(encoding="utf-8")
    db.execute(events.replace("$requests", "'" + files["requests"].replace("'", "''") + "'"))
    db.execute(f"""
        create table tally as select * from read_json('{files["tallies"]}', format = 'newline_delimited',
            columns = {{log_time_us: 'BIGINT', audience: 'VARCHAR', members: 'BIGINT', entries: 'BIGINT',
                exits: 'BIGINT', found: 'BOOLEAN'}});
        create table asked as select * from read_json('{files["members"]}', format = 'newline_delimited',
            columns = {{log_time_us: 'BIGINT', type: 'VARCHAR', value: 'VARCHAR', audiences: 'VARCHAR[]'}});
        create table instant as select distinct log_time_us as t from tally;
        create table turned (audience varchar, t bigint, entered int, exited int);
        create table inside (audience varchar, t bigint, timeline varchar);
    """)
    with open(files["definitions"], encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def differences_of_people(db):
    """Memberships that only one of the two knows, and how many memberships and questions were compared."""
    db.execute("""
        create temp table person as
        select a.log_time_us as t, a.type || ' ' || a.value as who, a.audiences,
            case when a.type = 'user_id' then 'u:' || a.value
                 when l.t <= a.log_time_us then 'u:' || l.user_id else 'a:' || a.value end as timeline
        from asked a left join login l on a.type = 'anonymous_id' and l.anonymous_id = a.value;
        create temp table known as select audience, log_time_us as t from tally where found;
        create temp table server as
        select t, timeline, who, unnest(audiences) as audience from person semi join instant using (t);
        create temp table ours as
        select p.t, p.timeline, p.who, i.audience from person p join inside i using (t, timeline);
    """)
    wrong = db.execute("""
        (select t, who, audience, true as by_server from server semi join known using (t, audience)
         except select t, who, audience, true from ours)
        union all
        (select t, who, audience, false from ours semi join known using (t, audience)
         except select t, who, audience, false from server)
        order by t, who, audience
    """)
    found = wrong.fetchall()
    asked, members = db.execute("""
        select (select count(*) from person p join known using (t)),
            (select count(*) from server semi join known using (t, audience))
    """).fetchone()
    return found, asked, members


def differences_of_tallies(db):
    """Members, entries and exits of each audience at each instant. Of a late one, what came after it was found."""
    return db.execute("""
        with ours as (
            select t.audience, t.log_time_us as t,
                (select count(*) from inside i where i.audience = t.audience and i.t = t.log_time_us) as members,
                coalesce(sum(u.entered), 0)::bigint as entries, coalesce(sum(u.exited), 0)::bigint as exits
            from tally t left join turned u on u.audience = t.audience and u.t <= t.log_time_us
            where t.found group by t.audience, t.log_time_us
        ), since as (
            select audience, min(log_time_us) as t from tally where found group by audience
        ), base as (
            select s.audience, d.late, y.entries as theirs_entries, y.exits as theirs_exits, o.entries, o.exits
            from since s join definition d using (audience) join tally y on y.audience = s.audience and y.log_time_us = s.t
            join ours o on o.audience = s.audience and o.t = s.t
        )
        select y.audience, y.log_time_us, y.members, o.members,
            y.entries - if(b.late, b.theirs_entries, 0) as their_entries, o.entries - if(b.late, b.entries, 0),
            y.exits - if(b.late, b.theirs_exits, 0), o.exits - if(b.late, b.exits, 0)
        from tally y join ours o on o.audience = y.audience and o.t = y.log_time_us join base b on b.audience = y.audience
        where y.found order by y.log_time_us, y.audience
    """).fetchall()


def day(time_us):
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_us / 1e6))


def main():
    began = time.monotonic()
    folder = Path(sys.argv[1])
    db = duckdb.connect()
    definitions = load(db, folder)
    events, people, merges = db.execute("""
        select (select count(*) from event), (select count(distinct timeline) from fact), (select count(*) from merge)
    """).fetchone()
    strange = db.execute("select count(*) from event semi join shared using (anonymous_id) where user_id is null")
    if strange.fetchone()[0]:
        sys.exit("the record has events of a shared device without a name: this recount does not know whose they are")
    db.execute("create table definition (audience varchar, late boolean)")
    for one in definitions:
        if one["rule"] not in RULES:
            sys.exit(f"the rule of {one['audience']} is not known here: {one['rule']}")
        db.execute("insert into definition values (?, ?)", [one["audience"], one["twin"] is not None])
        truth_of(db, *RULES[one["rule"]])
        recount(db, one["audience"])
    wrong = 0

    def tell(text):
        nonlocal wrong
        wrong += 1
        if wrong <= TOLD_MAX:
            print("DIFFERENCE", text)

    people_wrong, asked, members = differences_of_people(db)
    for at, who, audience, by_server in people_wrong:
        tell(f"{day(at)}: {who} is in {audience} {'for the server only' if by_server else 'for the recount only'}")
    rows = differences_of_tallies(db)
    for audience, at, *figures in rows:
        for what, theirs, ours in zip(("members", "entries", "exits"), figures[0::2], figures[1::2], strict=True):
            if theirs != ours:
                tell(f"{day(at)}: {audience} has {theirs} {what} for the server and {ours} for the recount")
    print(f"{'audience':<26}{'members':>9}{'entries':>9}{'exits':>9}   at the end, for the recount")
    last = max(row[1] for row in rows)
    for audience, at, _, member_count, _, entries, _, exits in rows:
        if at == last:
            print(f"{audience:<26}{member_count:>9,}{entries:>9,}{exits:>9,}")
    weeks = len({row[1] for row in rows})
    print(
        f"recount: {events:,} events, {people:,} timelines, {merges:,} merges; {len(definitions)} audiences at {weeks} "
        f"instants: {asked:,} answers about people and audiences with {members:,} memberships, {3 * len(rows):,} tallies "
        f"compared; {wrong:,} differences; {time.monotonic() - began:.1f} s"
    )
    missing = [one["audience"] for one in definitions if not any(row[0] == one["audience"] for row in rows)]
    if missing:
        sys.exit("never found for everybody, so not compared: " + ", ".join(missing))
    if not members:
        sys.exit("nobody is in any audience, so nothing was compared")
    if wrong:
        sys.exit(DIFFERS)


main()
