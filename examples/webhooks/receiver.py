"""Receive webhooks of Throughline: print each message that is signed as it should be, once.

    python3 receiver.py whsec_... [PORT] [--count N]

It answers 204 to a message that it accepts, 400 to one that it does not. With --count it ends after so many messages.
"""

import argparse
import http.server
import sys

from verify import Refused, verify

BODY_BYTES_MAX = 1024 * 1024
# A real receiver keeps this in its database, beside what the message changed.
SEEN = set()


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(min(length, BODY_BYTES_MAX))
        try:
            message = verify([self.server.secret], dict(self.headers), body)
        except Refused as error:
            print(f"refused: {error}", file=sys.stderr, flush=True)
            self.answer(400)
            return
        if self.headers["webhook-id"] not in SEEN:
            SEEN.add(self.headers["webhook-id"])
            data = message["data"]
            print(message["type"], data.get("audience", ""), data.get("identifiers", data["profile"]), flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """The messages are the log."""


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("secret", help="as the destination's definition answered")
    arguments.add_argument("port", type=int, nargs="?", default=9000)
    arguments.add_argument("--count", type=int, default=0)
    given = arguments.parse_args()
    server = http.server.HTTPServer(("127.0.0.1", given.port), Receiver)
    server.secret = given.secret
    while given.count == 0 or len(SEEN) < given.count:
        server.handle_request()
