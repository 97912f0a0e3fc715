"""Verify a webhook of Throughline in Python, with nothing but the standard library.

In your handler: pass the headers and the *raw* body, before any JSON is parsed.

    message = verify(["whsec_..."], request.headers, request.body)

Answer 2xx only when the message is stored. A message may come more than once: drop what has a `webhook-id` that you
have seen. To try it: `python3 verify.py whsec_... < request.json`, where the file holds {"headers": {}, "body": ""}.
"""

import base64
import binascii
import hashlib
import hmac
import json
import sys
import time

TOLERANCE_S = 5 * 60


class Refused(Exception):
    """The message is not from who it says, or too old."""


def verify(secrets, headers, body, now_s=None):
    """Return the parsed message; raise Refused unless one of the secrets signed it, recently."""
    headers = {name.lower(): value for name, value in headers.items()}
    try:
        message_id = headers["webhook-id"]
        timestamp = headers["webhook-timestamp"]
        signatures = headers["webhook-signature"].split(" ")
        signed_at_s = int(timestamp)
    except (KeyError, ValueError) as error:
        raise Refused("a webhook header is missing or unreadable") from error
    if abs((time.time() if now_s is None else now_s) - signed_at_s) > TOLERANCE_S:
        raise Refused("the timestamp is more than 5 minutes away: a replay, or a clock that is wrong")
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        expected = hmac.new(key, signed, hashlib.sha256).digest()
        for signature in signatures:
            version, _, encoded = signature.partition(",")
            if version != "v1":
                continue
            try:
                given = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                continue
            # In constant time, so that an answer's speed tells nothing about the signature.
            if hmac.compare_digest(given, expected):
                return json.loads(body)
    raise Refused("no signature fits: another secret, or the body was changed on the way")


if __name__ == "__main__":
    request = json.load(sys.stdin)
    try:
        verify(sys.argv[1:], request["headers"], request["body"].encode())
    except Refused as error:
        print(f"refused: {error}")
        sys.exit(1)
    print("verified")
