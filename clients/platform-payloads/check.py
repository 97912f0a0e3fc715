"""Reads Throughline's payloads with the platforms' own libraries.

    python check.py payloads.json

Meta: every event must be, member for member, what `facebook-business` makes of the same person and event. Google: every
request must parse into the request types of `google-ads-datamanager`, which know every field and refuse any other.
"""

import json
import sys

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.normalize import Normalize
from facebook_business.adobjects.serverside.user_data import UserData
from google.ads.datamanager_util import Formatter
from google.ads.datamanager_util.format import Encoding
from google.ads.datamanager_v1 import types
from google.protobuf import json_format

SOURCES = {"website": ActionSource.WEBSITE, "app": ActionSource.APP, "physical_store": ActionSource.PHYSICAL_STORE}
NAMES = {"Order Completed": "Purchase", "Checkout Started": "InitiateCheckout"}
GOOGLE_REQUESTS = {
    "/events:ingest": types.IngestEventsRequest,
    "/audienceMembers:ingest": types.IngestAudienceMembersRequest,
    "/audienceMembers:remove": types.RemoveAudienceMembersRequest,
    "/audienceMembers:removeAll": types.RemoveAllAudienceMembersRequest,
}
# Throughline brings numbers into E.164 with the country DE before any platform sees them.
E164 = {"+44 20 7946 0958": "+442079460958", "030 123456": "+4930123456", "not a number": None}


def usable(field, value):
    """The value, if the library takes it: what it raises on, Throughline leaves out."""
    if not value:
        return None
    try:
        Normalize.normalize_field(field, value)
        return value
    except (TypeError, ValueError):
        return None


def of_kind(person, kind):
    return [value for name, value in person["identifiers"] if name == kind]


def phones(person):
    return [E164[value] for value in of_kind(person, "phone") if E164[value]]


def meta_event(person, external_ids):
    """What the library makes of the person; ids of the shop are hashed by Throughline, and not by the library."""
    home, device, clicks = (person.get(name, {}) for name in ("person", "device", "click_ids"))
    happened = person["event"]
    user = UserData(
        emails=[value for value in of_kind(person, "email") if usable("em", value)] or None,
        phones=phones(person) or None,
        first_names=[home["first_name"]] if home.get("first_name") else None,
        last_names=[home["last_name"]] if home.get("last_name") else None,
        cities=[home["city"]] if home.get("city") else None,
        states=[home["state"]] if home.get("state") else None,
        zip_codes=[home["postcode"]] if home.get("postcode") else None,
        country_codes=[home["country"]] if usable("country", home.get("country")) else None,
        external_ids=external_ids,
        client_ip_address=device.get("ip"),
        client_user_agent=device.get("user_agent"),
        fbc=clicks.get("fbc"),
        fbp=clicks.get("fbp"),
    )
    items = happened.get("items", [])
    data = None
    if "value" in happened:
        data = CustomData(
            currency=happened["currency"],
            value=float(happened["value"]),
            order_id=happened.get("order_id"),
            content_ids=[item["id"] for item in items] or None,
            content_type="product" if items else None,
            contents=[
                Content(product_id=item["id"], quantity=item["quantity"], item_price=float(item["price"]))
                for item in items
            ]
            or None,
            num_items=sum(item["quantity"] for item in items) or None,
        )
    return Event(
        event_name=NAMES[happened["name"]],
        event_time=SECONDS[happened["occurred_at"]],
        event_id=happened["id"],
        event_source_url=happened.get("url"),
        action_source=SOURCES[happened["source"]],
        user_data=user,
        custom_data=data,
    ).normalize()


SECONDS = {
    "2026-11-22T04:50:59.250000Z": 1795323059,
    "2026-11-21T00:00:00.000000Z": 1795219200,
    "2026-11-20T12:00:00.000000Z": 1795176000,
}


def comparable(value):
    """Lists of hashes without order, objects without blanks of the library."""
    if isinstance(value, dict):
        return {name: comparable(inner) for name, inner in value.items() if inner not in (None, [], {})}
    if isinstance(value, list):
        return sorted((comparable(inner) for inner in value), key=json.dumps)
    return value


def check_meta_events(people, calls):
    (call,) = calls
    ours = call["body"]["data"]
    assert len(ours) == len(people)
    for person, event in zip(people, ours):
        theirs = meta_event(person, event["user_data"].get("external_id"))
        assert comparable(event) == comparable(theirs), f"\nours:   {comparable(event)}\ntheirs: {comparable(theirs)}"
    return len(ours)


def check_meta_rows(people, calls):
    """Every hash in a row is what the library makes of one of the person's values."""
    allowed = {Normalize.normalize_field("em", "new@shop.test"), ""}
    for person in people:
        home = person.get("person", {})
        fields = [("em", value) for value in of_kind(person, "email")] + [("ph", value) for value in phones(person)]
        names = {"fn": "first_name", "ln": "last_name", "ct": "city", "st": "state", "zp": "postcode", "country": "country"}
        fields += [(field, home.get(name)) for field, name in names.items()]
        allowed |= {Normalize.normalize_field(field, value) for field, value in fields if usable(field, value)}
    cells = [cell for call in calls for row in call["body"]["payload"]["data"] for cell in row]
    assert cells and set(cells) <= allowed, set(cells) - allowed
    return len(calls)


def check_google(people, calls):
    for call in calls:
        request = GOOGLE_REQUESTS[call["path"]]
        json_format.ParseDict(call["body"], request.pb()())
    formatter = Formatter()
    text = json.dumps(calls)
    for person in people:
        for value in phones(person):
            assert formatter.process_phone_number(value, Encoding.HEX) in text
        for value in of_kind(person, "email"):
            try:
                assert formatter.process_email_address(value, Encoding.HEX) in text
            except ValueError:
                assert value not in text
    return len(calls)


CHECKS = {
    "meta_conversions": check_meta_events,
    "meta_audience": check_meta_rows,
    "google_events": check_google,
    "google_audience": check_google,
}


def main(path):
    with open(path, encoding="utf-8") as file:
        kept = json.load(file)
    for sent in kept["sent"]:
        check = CHECKS.get(sent["platform"])
        if check is None:
            print(f"{sent['platform']}: no library of the platform to ask")
            continue
        print(f"{sent['platform']}: {check(kept['people'], sent['calls'])} agree")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
