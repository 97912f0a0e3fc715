"""What the platforms' own libraries make of a person's data: the other side of Throughline's normalisers.

    python oracle.py > expected.jsonl

One line for each input: the field, the value, and what Meta's and Google's library make of it; null where the library
refuses. The inputs are a list of unpleasant ones and, from a fixed seed, mutations of them, so that everybody who runs
this gets the same file. Throughline's tests compare their normalisers with the committed file, and
tests/smoke/45-platform-payloads.sh compares the committed file with the libraries as they are installed.
"""

import json
import random
import sys
import unicodedata

from facebook_business.adobjects.serverside.normalize import Normalize
from google.ads.datamanager_util import Formatter
from google.ads.datamanager_util.format import Encoding

SEED = 20261122
MUTATIONS = 60

INPUTS = {
    "email": [
        "ann@shop.test", " Ann@Shop.Test ", "ANN.B+news@Gmail.com", "a.n.n@googlemail.com", "+x@gmail.com",
        "...@gmail.com", "ann+b@shop.test", "an n@shop.test", "ann@shop", "ann", "@", "@shop.test", "ann@",
        "a@b@c.test", "ann@.test", "ann@shop.", "ann@shop..test", "\tann@shop.test\n", "ann@shop.test\nbob@shop.test",
        "\u00a0ann@shop.test\u00a0", "ann\u00a0b@shop.test", "\x1cann@shop.test\x1d", "ünal@shop.test", "ÜNAL@SHOP.TEST",
        "ann@münchen.test", "İstanbul@shop.test", "ΟΔΟΣ@shop.test", "\u200bann@shop.test", "ann@shop.test ", "",
        " ", "\n", "ann@gmail.com.evil.test", "ann@GMAIL.COM", "first.last+tag+tag@gmail.com", "a@b.c", "ann%40shop.test",
        "ann@[192.0.2.1]", '"ann b"@shop.test', "ann@shop.test;bob@shop.test", "d41d8cd98f00b204e9800998ecf8427e",
        "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "null", "a@b..", "\u2028ann@shop.test",
        "ann@shop.test\x00", "𝐚nn@shop.test", "ann＠shop.test", "ß@shop.test", "ẞ@shop.test",
    ],
    "phone": [
        "+442079460958", "+44 20 7946 0958", "+44 (0)20 7946 0958", "0044 20 7946 0958", "00442079460958",
        "020 7946 0958", "(020) 7946-0958", "020.7946.0958", "+1 (212) 555-0123", "1-212-555-0123", "2125550123",
        "+1 212 555 0123 x12", "1-800-FLOWERS", "tel:+442079460958", "+49 30 123456", "++49 30 123456", "0000493012345678",
        "00000493012345678", "000049", "0", "00", "+", "", " ", "+0", "123456", "1234567", "12345678901234567890",
        "+49\u00a030\u00a0123456", "+49\u202f30\u202f123456", "+49\u201130\u2011123456", "+٤٤٢٠٧٩٤٦٠٩٥٨", "＋４４２０７９４６０９５８",
        "+49 30 12345²", "+49/30/123456", "+49 30 123456\n", "\x1f+49 30 123456", "49 30 123456 ", "+49-30-123456",
        "(49)(30)123456", "d41d8cd98f00b204e9800998ecf8427e",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "null", "+49 30 123456;", "0 049 30 123456",
        "+ 49 30 123456", "-49 30 123456", "1e10", "+86 138 0013 8000", "008613800138000",
    ],
    "first_name": [
        "Ann", " ann ", "ÉMILE", "Anne-Marie", "O'Neil", "van der Berg", "", " ", "李", "Ǆ", "İ", "ΟΔΟΣ", "ß", "Ann\x1f",
        "d41d8cd98f00b204e9800998ecf8427e", "ann\u0301", "\u200bann", "A.", "3PO", "null",
    ],
    "last_name": ["Smith", "Smith Jr.", " DE LA CRUZ ", "Ñandú", "", "\t", "Ørsted", "al-Ḥasan", "Müller-Lüdenscheidt"],
    "city": [
        "London", "St. John's", "New York", "NEW-YORK", "Sankt Pölten 3", "'s-Hertogenbosch", "東京", "München", "123", "",
        " ", "Frankfurt (Main)", "Frankfurt\u00a0am\u00a0Main", "L.A.", "d41d8cd98f00b204e9800998ecf8427e",
    ],
    "state": ["CA", "ca ", "Calif.", "New South Wales", "N.S.W.", "NRW 1", "Île-de-France", "", "7", "(CA)"],
    "postcode": [
        "94107", "94107-1234", " sw1a 2aa ", "SW1A\u00a02AA", "1010 AB", "-", "-1234", "", " ", "01067", "D-01067",
        "00 950", "〒100-0001", "１００", "K1A 0B1",
    ],
    "country": [
        "us", "US", " de ", "usa", "U.S.", "United States", "GB", "UK", "xk", "zz", "", " ", "d1e", "ＤＥ", "ß", "de-DE", "1",
        "ÄT", "at\n", "A T",
    ],
}
META = {
    "email": "em", "phone": "ph", "first_name": "fn", "last_name": "ln", "city": "ct", "state": "st", "postcode": "zp",
    "country": "country",
}
FORMATTER = Formatter()
GOOGLE = {
    "email": lambda value: FORMATTER.process_email_address(value, Encoding.HEX),
    "phone": lambda value: FORMATTER.process_phone_number(value, Encoding.HEX),
    "first_name": lambda value: FORMATTER.process_given_name(value, Encoding.HEX),
    "last_name": lambda value: FORMATTER.process_family_name(value, Encoding.HEX),
    "postcode": FORMATTER.process_postal_code,
    "country": FORMATTER.process_region_code,
}
SPRINKLED = [" ", "\u00a0", "\t", ".", "-", "+", "@", "(", ")", "0", "00", "\u200b", "é", "Z", "\x1c", "٣", "/", "'"]


def mutated(chance, value):
    """One to three small changes."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randint(0, len(value))
        kind = chance.randrange(4)
        if kind == 0:
            value = value[:place] + chance.choice(SPRINKLED) + value[place:]
        elif kind == 1:
            value = value[:place] + value[place + 1 :]
        elif kind == 2:
            value = value[:place] + value[place:].swapcase()
        else:
            value = chance.choice(SPRINKLED) + value + chance.choice(SPRINKLED)
    return value


def inputs():
    chance = random.Random(SEED)
    for field, values in INPUTS.items():
        seen = set()
        count = MUTATIONS * 2 if field in ("email", "phone") else MUTATIONS // 2
        more = [mutated(chance, chance.choice(values)) for _ in range(count)]
        for value in values + more:
            if value not in seen:
                seen.add(value)
                yield field, value


def answer(function, *arguments):
    try:
        return function(*arguments)
    except (TypeError, ValueError):
        return None


def main():
    for field, value in inputs():
        google = GOOGLE.get(field)
        line = {
            "field": field,
            "value": value,
            "meta": answer(Normalize.normalize_field, META[field], value),
            "google": answer(google, value) if google else None,
            "foreign_digits": any(
                ord(character) > 127 and unicodedata.category(character).startswith("N") for character in value
            ),
        }
        print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
