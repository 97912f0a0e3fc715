-- From what was sent to what each person did, by nothing but the record of the demo.
--
-- A timeline is what one profile sees: `u:ID` is a household from the first event that names it on, `a:ID` a device
-- from its first event until somebody logs in on it. `(t, seq)` is a place: log time and the place of the event among
-- all that was sent; what time alone does at t has seq -1, because it comes before any event of that log time.

create table event as
with request as (
    select row_number() over () as number, log_time_us, door, sent.batch as batch
    from read_json($requests, format = 'newline_delimited', maximum_object_size = 16777216,
        columns = {log_time_us: 'BIGINT', door: 'VARCHAR', sent: 'STRUCT(batch JSON[])'})
), one as (
    select number, generate_subscripts(batch, 1) as place, log_time_us as t, door, unnest(batch) as body from request
), placed as (
    select row_number() over (order by number, place) as seq, t, door, body from one
), told as (
    select seq, t, door,
        body ->> '$.messageId' as message_id,
        case when body ->> '$.type' = 'track' then body ->> '$.event' else body ->> '$.type' end as name,
        epoch_us((body ->> '$.timestamp')::timestamp) as occurred_us,
        body ->> '$.userId' as user_id,
        body ->> '$.anonymousId' as anonymous_id,
        body ->> '$.context.consent.categoryPreferences.Advertising' as advertising,
        body -> '$.properties' as properties
    from placed
)
-- A message that is sent again is the same event.
select * from told qualify row_number() over (partition by message_id order by seq) = 1;

-- The first login on each device. A device on which several log in belongs to none of them.
create table login as
select anonymous_id, arg_min(user_id, seq) as user_id, min(t) as t, min(seq) as seq
from event where anonymous_id is not null and user_id is not null
group by anonymous_id having count(distinct user_id) = 1;

create table shared as
select anonymous_id from event where user_id is not null and anonymous_id is not null
group by anonymous_id having count(distinct user_id) > 1;

-- What each timeline knows of which event, and from which place on. An order counts once, by the word of the shop's
-- server: what a browser says of it is a claim without value.
create table fact as
with counted as (
    select seq, t, occurred_us, name, user_id, anonymous_id, advertising, properties,
        (properties ->> '$.total')::decimal(18, 2) as value,
        properties ->> '$.currency' as currency,
        list_distinct(json_extract_string(properties, '$.products[*].category')) as categories
    from event where not (name = 'Order Completed' and door = 'browser')
)
select 'u:' || c.user_id as timeline, c.t, c.seq, c.* exclude (t, seq) from counted c where c.user_id is not null
union all
-- Before anybody logged in there it is the device's own.
select 'a:' || c.anonymous_id, c.t, c.seq, c.* exclude (t, seq)
from counted c left join login l using (anonymous_id)
where c.user_id is null and (l.seq is null or c.seq < l.seq)
union all
-- From the login on it is the household's, whenever it happened.
select 'u:' || l.user_id, greatest(c.t, l.t), greatest(c.seq, l.seq), c.* exclude (t, seq)
from counted c join login l using (anonymous_id)
where c.user_id is null;

-- Two profiles become one at a login on a device that was seen before. The one that was seen first remains, the other
-- leaves every audience.
create table merge as
with seen as (
    select 'u:' || user_id as timeline, min(seq) as seq from event where user_id is not null group by 1
    union all
    select 'a:' || anonymous_id, min(seq) from event where anonymous_id is not null group by 1
), joined as (
    select 'a:' || l.anonymous_id as device, 'u:' || l.user_id as household, l.t, l.seq, s.seq as device_seq
    from login l join seen s on s.timeline = 'a:' || l.anonymous_id where s.seq < l.seq
)
select j.device, j.household, j.t, j.seq,
    j.device_seq < least(
        (select s.seq from seen s where s.timeline = j.household),
        coalesce((select min(e.device_seq) from joined e where e.household = j.household and e.seq < j.seq), 1152921504606846976)
    ) as device_remains
from joined j;
