-- From what was sent to every figure of the line, by nothing but the record of the demo. Times are microseconds since
-- 1970, amounts millionths of a dollar. The rules are those of docs/line.md, with the settings of the demo.

create table event as
with request as (
    select row_number() over () as number, log_time_us, door, sent.batch as batch
    from read_json($requests, format = 'newline_delimited', maximum_object_size = 16777216,
        columns = {log_time_us: 'BIGINT', door: 'VARCHAR', sent: 'STRUCT(batch JSON[])'})
), one as (
    select number, generate_subscripts(batch, 1) as place, log_time_us as t, door, unnest(batch) as body from request
), told as (
    select row_number() over (order by number, place) as seq, t, door, sha256(body ->> '$.messageId') as digest,
        (body ->> '$.messageId') as message_id,
        case when (body ->> '$.type') = 'track' then (body ->> '$.event') else (body ->> '$.type') end as name,
        epoch_us((body ->> '$.timestamp')::timestamp) as at_us,
        (body ->> '$.userId') as user_id,
        (body ->> '$.anonymousId') as anonymous_id,
        (body ->> '$.context.consent.categoryPreferences.Advertising') as advertising,
        body -> '$.properties' as properties
    from one
)
-- A message that is sent again is the same event.
select * from told qualify row_number() over (partition by message_id order by seq) = 1;

-- The first login on each device. A device on which several log in belongs to none of them.
create table login as
select anonymous_id, arg_min(user_id, seq) as user_id, min(t) as t
from event where anonymous_id is not null and user_id is not null
group by anonymous_id having count(distinct user_id) = 1;

-- Who did what. `known_us`: since when that is known, in log time.
create table fact as
select coalesce(e.user_id, l.user_id, e.anonymous_id) as person,
    coalesce('u' || e.user_id, 'a' || e.anonymous_id) as identifier,
    if(e.user_id is null, greatest(e.t, coalesce(l.t, e.t)), e.t) as known_us, e.*
from event e left join login l using (anonymous_id);

create table touch as
select seq, person, identifier, at_us, known_us, digest, name = 'Ad Click' as is_click,
    coalesce(properties ->> '$.campaign_id', '') as campaign, (properties ->> '$.currency') as currency,
    (properties ->> '$.product_id') as product_id, (properties ->> '$.category') as category,
    -- A browser's word about money is a claim.
    if(door = 'server', coalesce((properties ->> '$.cost')::decimal(18, 6) * 1000000, 0), 0)::bigint as cost_micro,
    coalesce((properties ->> '$.invalid') = 'true' or (properties ->> '$.viewable') = 'false'
        or (properties ->> '$.rendered') = 'false', false) as is_invalid,
    coalesce((properties ->> '$.in_stock') = 'false' or (properties ->> '$.deliverable') = 'false', false)
        as is_unavailable
from fact where name in ('Ad Impression', 'Ad Click');

-- An order is one order, whoever tells of it; the server's word wins.
create table purchase as
select (properties ->> '$.order_id') as order_id, person, at_us, known_us, door,
    (properties ->> '$.currency') as currency,
    ((properties ->> '$.total')::decimal(18, 2) * 1000000)::bigint as cash_micro,
    json_extract_string(properties, '$.products[*].product_id') as products,
    json_extract_string(properties, '$.products[*].category') as categories
from fact where name = 'Order Completed'
qualify row_number() over (partition by order_id order by door = 'server' desc, seq) = 1;

-- Scrap: the first reason that holds, and how long before an impression that was bought what it is for. What nobody
-- could see is not what somebody "had already seen".
create table impression as
with bought as (
    select t.seq, min(t.at_us - p.at_us) as after_us
    from touch t join purchase p using (person)
    where not t.is_click
        and t.at_us - p.at_us > getvariable('grace_us') and t.at_us - p.at_us <= getvariable('suppressed_us')
        and (list_contains(p.products, t.product_id) or list_contains(p.categories, t.category))
    group by t.seq
), before as (
    select t.seq, count(*) filter (o.at_us > t.at_us - getvariable('cap_window_us')) as seen,
        count(*) filter (o.identifier <> t.identifier and o.at_us >= t.at_us - getvariable('duplicate_us')) as elsewhere
    from touch t join touch o on o.person = t.person and o.campaign = t.campaign
        and (o.at_us, o.digest) < (t.at_us, t.digest)
    where not t.is_click and not o.is_click and not o.is_invalid
        and o.at_us >= t.at_us - greatest(getvariable('cap_window_us'), getvariable('duplicate_us'))
    group by t.seq
), consent as (
    -- A browser may withdraw; only a server gives.
    select t.seq, arg_max(f.advertising, (f.at_us, f.advertising = 'false')) = 'false' as is_withdrawn
    from touch t join fact f on f.person = t.person and f.at_us <= t.at_us
    where f.advertising = 'false' or (f.advertising = 'true' and f.door = 'server')
    group by t.seq
)
select t.*, b.after_us,
    case when t.is_invalid then 'invalid'
        when b.after_us is not null then 'purchased'
        when o.seen >= getvariable('cap') then 'capped'
        when t.is_unavailable then 'unavailable'
        when c.is_withdrawn then 'unconsented'
        when o.elsewhere > 0 then 'duplicate' end as scrap
from touch t left join bought b using (seq) left join before o using (seq) left join consent c using (seq)
where not t.is_click;

-- Attention before an order, and the campaign of the latest: clicks go before views. Several campaigns are shown at the
-- same instant; of those the last by name is the latest (text is compared byte by byte).
create table credited as
with attention as (
    select p.order_id, arg_max(t.campaign, (t.is_click, t.at_us, t.campaign)) as campaign
    from purchase p join touch t using (person)
    where not t.is_invalid
        and p.at_us - t.at_us between 0 and if(t.is_click, getvariable('click_us'), getvariable('view_us'))
    group by 1
)
select p.*, a.campaign is not null as has_attention, coalesce(a.campaign, '') as campaign
from purchase p left join attention a using (order_id);

-- The way of an order, found backwards: the last that came into the cart before the last step of paying, the first step of
-- paying after that, the last click before both; nothing of it before the first impression or the order before. Who an
-- anonymous cart belongs to is often learnt late; it changes the orders that are still open then.
create table journey as
with impressions as (
    select c.order_id, min(t.at_us) as impression_us
    from credited c join touch t using (person)
    where not t.is_click and not t.is_invalid and c.at_us - t.at_us between 0 and getvariable('click_us') group by 1
), earlier as (
    select c.order_id, max(b.at_us) as taken_us
    from credited c join credited b on b.person = c.person and b.at_us < c.at_us group by 1
), steps as (
    select c.order_id, f.at_us, f.name = 'Product Added' as is_cart
    from credited c join impressions i using (order_id) left join earlier e using (order_id) join fact f using (person)
    where f.name in ('Product Added', 'Checkout Started', 'Payment Info Entered')
        and f.at_us between i.impression_us and c.at_us and (e.taken_us is null or f.at_us > e.taken_us)
        and c.at_us >= f.known_us - getvariable('open_us')
), last_pays as (
    select order_id, max(at_us) as last_us from steps where not is_cart group by 1
), carts as (
    select s.order_id, max(s.at_us) as cart_us
    from steps s left join last_pays p using (order_id)
    where s.is_cart and (p.last_us is null or s.at_us <= p.last_us) group by 1
), pays as (
    select s.order_id, min(s.at_us) as pay_us
    from steps s left join carts a using (order_id)
    where not s.is_cart and (a.cart_us is null or s.at_us >= a.cart_us) group by 1
), clicks as (
    select c.order_id, max(t.at_us) as click_us
    from credited c join impressions i using (order_id) left join earlier e using (order_id)
    left join carts a using (order_id) left join pays p using (order_id) join touch t using (person)
    where t.is_click and not t.is_invalid
        and t.at_us between i.impression_us and coalesce(a.cart_us, p.pay_us, c.at_us)
        and (e.taken_us is null or t.at_us > e.taken_us) group by 1
), confirmations as (
    select (properties ->> '$.order_id') as order_id,
        min(at_us) filter (name = 'Order Confirmation Queued') as queued_us,
        min(at_us) filter (name = 'Order Confirmation Accepted') as accepted_us
    from fact where starts_with(name, 'Order Confirmation ') and door = 'server' group by 1
)
select c.order_id, c.at_us, c.campaign, i.impression_us, k.click_us, a.cart_us, p.pay_us, f.queued_us, f.accepted_us
from credited c left join impressions i using (order_id) left join clicks k using (order_id)
left join carts a using (order_id) left join pays p using (order_id) left join confirmations f using (order_id);

create table span as
with raw as (
    select 'after_purchase' as name, at_us, campaign, after_us as us
    from impression where after_us is not null
    union all
    select unnest(['cycle', 'impression_to_click', 'click_to_cart', 'cart_to_pay', 'pay_to_capture',
            'capture_to_queued', 'queued_to_accepted']), at_us, campaign,
        unnest([accepted_us - impression_us, click_us - impression_us, cart_us - click_us, pay_us - cart_us,
            at_us - pay_us, queued_us - at_us, accepted_us - queued_us])
    from journey where impression_us is not null
)
select * from raw where us is not null;

create table measure as
with person_day as (
    select person, at_us // getvariable('day_us') as day, min(at_us) as at_us
    from touch where not is_invalid group by all
), paid as (
    select distinct person, at_us // getvariable('day_us') as day from credited where has_attention
)
select 'impressions' as name, at_us, campaign, 1 as amount from impression
union all select 'clicks', at_us, campaign, 1 from touch where is_click
union all select 'spend_micro', at_us, campaign, cost_micro from touch
union all select 'scrap_' || scrap, at_us, campaign, 1 from impression where scrap is not null
union all select 'scrap_' || scrap || '_micro', at_us, campaign, cost_micro from impression where scrap is not null
union all select 'orders', at_us, campaign, 1 from credited
union all select 'cash_micro', at_us, campaign, cash_micro from credited
union all select 'orders_with_attention', at_us, campaign, 1 from credited where has_attention
union all select 'cash_with_attention_micro', at_us, campaign, cash_micro from credited where has_attention
union all select 'orders_without_impression', at_us, campaign, 1 from journey where impression_us is null
union all select 'orders_unconfirmed', at_us, campaign, 1 from journey
    where impression_us is not null and accepted_us is null
union all select 'journeys_begun', impression_us, campaign, 1 from journey where impression_us is not null
-- A journey ends when its mail is accepted, which may be another day than the order's.
union all select 'journeys_ended', accepted_us, campaign, 1 from journey
    where impression_us is not null and accepted_us is not null
union all select 'negative_spans', at_us, campaign, 1 from span where us < 0
-- People are people, not a campaign's.
union all select 'people_with_attention', at_us, '', 1 from person_day
union all select 'people_paid', at_us, '', 1 from person_day semi join paid using (person, day);

-- Each figure, in total, by day and by campaign.
create macro parts(of) as table
with row_of as (select *, strftime(make_timestamp(at_us), '%Y-%m-%d') as day from query_table(of))
select 'total' as kind, '' as part, * exclude (day) from row_of
union all select 'day', day, * exclude (day) from row_of
union all select 'campaign', campaign, * exclude (day) from row_of;

create table counted as
select kind, part, name, sum(amount)::bigint as amount from parts('measure') group by all having sum(amount) > 0;

create table timed as
with measured as (
    select kind, part, name, count(*) as count, sum(us)::bigint as sum_us, list_sort(list(us)) as us
    from parts('span') where us >= 0 group by all
)
select kind, part, name, count, sum_us // (count * 1000) as mean_ms,
    -- The quantile p is that of rank ceil(p * n).
    us[(50 * count + 99) // 100] as p50_us, us[(90 * count + 99) // 100] as p90_us,
    us[(99 * count + 99) // 100] as p99_us
from measured;
