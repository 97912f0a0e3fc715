#!/usr/bin/env python3
"""Holds the reference follower against the server, over kills of either side, under load.

Each round shops for a while, kills the server or the follower in the middle of it (kill -9), or takes the feed's files
away, and goes on. Then the load stops, and when a checkpoint stands behind everything, what the follower keeps must be
what the server's own tables say, exactly; and single profiles, read through the loop, must say the same.

    check.py THROUGHLINE_BINARY [--rounds N] [--seed S]
"""

import argparse
import base64
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE_SECONDS = 40
PEOPLE, PRODUCTS = 400, 40
BATCH_EVENTS = 25
LOAD_THREADS = 2
PROFILES_READ = 40
HERE = pathlib.Path(__file__).parent
DISTURBED = {
    "server": "the server was killed",
    "follower": "the follower was killed",
    "files lost": "the feed's files were lost",
    "both": "both were killed",
    "follower anew": "the follower was killed and lost what it had saved",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fail(message):
    sys.exit(f"failed: {message}")


def wait_for(what, done):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.02)
    return fail(f"{what} did not happen within {PATIENCE_SECONDS} s")


class Server:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.ports = {name: free_port() for name in ("ingest", "admin", "profiles")}
        self.token = self.key = None
        self.process = None

    def start(self):
        listen = [f"--set=listen.{name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        # Small figures, so that kills meet checkpoints, new files and retention often.
        settings = ["--set=state.checkpoint_interval_ms=150", "--set=log.segment_bytes=1048576"]
        settings.append("--set=feed.heartbeat_ms=100")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--data", str(self.folder / "data"), *listen, *settings],
            stdout=subprocess.PIPE, stderr=open(self.folder / "server.log", "ab"), text=True,
        )
        if self.token is None:
            for line in self.process.stdout:
                words = line.split()
                if words[:2] == ["admin", "token"]:
                    self.token = words[2]
                if words[:3] == ["server", "write", "key"]:
                    self.key = words[3]
                if line.startswith("A first order"):
                    break
        wait_for("the server's start", lambda: self.try_call("admin", "GET", "/readyz")[0] == 200)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def call(self, listener, method, path, body=None, basic=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[listener], timeout=10)
        try:
            authorization = f"Bearer {self.token}"
            if basic:
                authorization = "Basic " + base64.b64encode(f"{basic}:".encode()).decode()
            headers = {"Authorization": authorization, "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def try_call(self, *arguments, **named):
        try:
            return self.call(*arguments, **named)
        except (OSError, http.client.HTTPException):
            return 0, b""

    def json(self, listener, method, path, body=None):
        status, answer = self.call(listener, method, path, body)
        if status not in (200, 201):
            fail(f"{method} {path} answered {status}: {answer!r}")
        return json.loads(answer)


class Shoppers(threading.Thread):
    """Sends batches as fast as they are taken. What gets no answer is of no interest here."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.random = server, random.Random(seed)
        self.number, self.stopping, self.sent = seed, False, 0

    def event(self):
        pick = self.random
        person, product = pick.randrange(PEOPLE), pick.randrange(PRODUCTS)
        self.sent += 1
        event = {"type": "track", "messageId": f"{self.number}-{self.sent}", "userId": f"user-{person}"}
        properties = {"product_id": f"product-{product}", "category": f"category-{product % 5}"}
        chance = pick.random()
        if chance < 0.15:
            order = {"order_id": f"{self.number}-{self.sent}", "total": "9.99", "currency": "EUR"}
            return event | {"event": "Order Completed", "properties": order | {"products": [properties]}}
        if chance < 0.2:
            order = {"order_id": f"{self.number}-{pick.randrange(self.sent)}", "total": "9.99", "currency": "EUR"}
            return event | {"event": "Order Refunded", "properties": order}
        if chance < 0.4:
            # Somebody not known yet buys and is known later: two profiles become one.
            anonymous = f"anonymous-{pick.randrange(4 * PEOPLE)}"
            if pick.random() < 0.5:
                event.pop("userId")
                order = {"order_id": f"{self.number}-{self.sent}", "total": "1.00", "currency": "EUR"}
                named = {"event": "Order Completed", "properties": order | {"products": [properties]}}
                return event | {"anonymousId": anonymous} | named
            return event | {"anonymousId": anonymous, "type": "identify", "traits": {"age": person}}
        return event | {"event": "Product Viewed", "properties": properties}

    def run(self):
        while not self.stopping:
            batch = {"batch": [self.event() for _ in range(BATCH_EVENTS)]}
            status, _ = self.server.try_call("ingest", "POST", "/v1/batch", batch, basic=self.server.key)
            time.sleep(0.005 if status == 200 else 0.1)


class Follower:
    def __init__(self, server, folder):
        self.server, self.path, self.process = server, folder / "follower.json", None
        self.log = folder / "follower.log"

    def start(self, anew):
        if anew:
            self.path.unlink(missing_ok=True)
        script = [sys.executable, str(HERE / "follower.py"), "--state", str(self.path), "--save-seconds", "0.3"]
        url = f"http://127.0.0.1:{self.server.ports['profiles']}"
        environment = os.environ | {"FEED_TOKEN": self.server.token}
        self.process = subprocess.Popen([*script, "--url", url], env=environment, stderr=open(self.log, "ab"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def state(self):
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def caught_up(self, position):
        state = self.state()
        return state if state and state["position"] >= position else None


def of_snapshot(lines):
    suppressed, audiences, position = {}, {}, None
    for line in map(json.loads, lines):
        if line["kind"] == "suppression.state":
            suppressed[line["profile"]] = sorted(one["scope"] for one in line["scopes"])
        elif line["kind"] == "audience.state":
            audiences[line["profile"]] = sorted(str(one["audience_number"]) for one in line["audiences"])
        elif line["kind"] == "snapshot.end":
            position = line["position"]
    return suppressed, audiences, position


def settled(server):
    """The server's tables, once a checkpoint stands behind everything that was applied."""

    def look():
        status = server.json("admin", "GET", "/admin/v1/status")
        if status["backfill"]["pending"] or status["checkpoint_next"] < status["applied_next"]:
            return None
        code, answer = server.call("profiles", "GET", "/feed/v1/snapshot")
        if code != 200:
            return None
        found = of_snapshot(answer.splitlines())
        again = server.json("admin", "GET", "/admin/v1/status")
        return found if found[2] is not None and found[2] >= again["applied_next"] else None

    return wait_for("a checkpoint behind everything", look)


def compare(server, follower, round_number):
    suppressed, audiences, position = settled(server)
    state = wait_for("the follower to catch up", lambda: follower.caught_up(position))
    for name, found, expected in (
        ("suppressed", {who: sorted(scopes) for who, scopes in state["suppressed"].items()}, suppressed),
        ("audiences", {who: sorted(members) for who, members in state["audiences"].items()}, audiences),
    ):
        if found != expected:
            differ = [who for who in found.keys() | expected.keys() if found.get(who) != expected.get(who)]
            who = differ[0]
            fail(f"round {round_number}: {name}: {len(differ)} of {len(expected)} profiles differ, e.g. {who}: the "
                 f"follower has {found.get(who)}, the server {expected.get(who)}")
    # The loop's own word, which comes neither from a checkpoint nor from the feed.
    people = sorted(suppressed.keys() | audiences.keys())
    for who in random.Random(round_number).sample(people, min(PROFILES_READ, len(people))):
        read = server.json("profiles", "GET", f"/v1/profiles/{who}")
        counts = (len(read["suppressions"]), len(read["audiences"]))
        expected = (len(state["suppressed"].get(who, {})), len(state["audiences"].get(who, {})))
        if read["id"] != who or counts != expected:
            fail(f"round {round_number}: {who}: the loop says {counts}, the follower {expected}")
    return state, len(suppressed), len(audiences)


def set_window(server, seconds):
    rules = {"window_s": seconds, "products": True, "categories": True, "everything": False, "refund_lifts": True}
    server.json("admin", "PUT", "/admin/v1/settings/suppression", rules)


def prepare(server):
    for name, rule in (
        ("viewers", 'count("Product Viewed", "7d") >= 5'),
        ("buyers", 'count("Order Completed") > 2'),
    ):
        server.json("admin", "PUT", f"/admin/v1/audiences/{name}", {"rule": rule})


def erase_somebody(server, follower, pick):
    state = follower.state()
    if state and state["suppressed"]:
        who = pick.choice(sorted(state["suppressed"]))
        server.try_call("admin", "POST", f"/admin/v1/profiles/{who}/erase")


def disturb(server, follower, what):
    if what == "server":
        server.kill()
        server.start()
    elif what == "follower":
        follower.kill()
        time.sleep(0.2)
        follower.start(anew=False)
    elif what == "follower anew":
        follower.kill()
        follower.start(anew=True)
    elif what == "both":
        follower.kill()
        server.kill()
        server.start()
        follower.start(anew=False)
    else:
        server.kill()
        shutil.rmtree(server.folder / "data" / "feed")
        server.start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="throughline-follower-"))
    pick = random.Random(arguments.seed)
    server = Server(arguments.binary, folder)
    follower = Follower(server, folder)
    try:
        server.start()
        prepare(server)
        follower.start(anew=True)
        kinds = list(DISTURBED)
        gone = 0
        for number in range(arguments.rounds):
            # Every other round what is bought is held back for a moment only: time ends it, too.
            set_window(server, 1 if number % 2 else 30 * 24 * 3600)
            load = [Shoppers(server, 1000 * arguments.seed + 10 * number + index) for index in range(LOAD_THREADS)]
            for thread in load:
                thread.start()
            what = kinds[number % len(kinds)]
            for _ in range(1 + pick.randrange(2)):
                time.sleep(0.3 + pick.random())
                erase_somebody(server, follower, pick)
                disturb(server, follower, what)
            time.sleep(0.3 + pick.random() / 2)
            for thread in load:
                thread.stopping = True
            for thread in load:
                thread.join()
            time.sleep(1.5)
            state, suppressed, members = compare(server, follower, number)
            gone += state["gone"]
            print(f"round {number + 1} of {arguments.rounds}: {DISTURBED[what]} under load; position "
                  f"{state['position']}: {suppressed} suppressed profiles and {members} audience members are the "
                  f"same on both sides; {state['snapshots']} snapshots, {state['gone']} cursors refused", flush=True)
            if suppressed < 20 or members < 20:
                fail("so few people prove nothing")
        if arguments.rounds >= len(kinds) and gone == 0:
            fail("no cursor was ever refused, although the feed's files were lost")
    except BaseException:
        if server.process and server.process.poll() is not None:
            print(f"the server ended by itself with {server.process.returncode}", file=sys.stderr)
        print((folder / "server.log").read_text()[-3000:], file=sys.stderr)
        print((folder / "follower.log").read_text()[-1000:] if follower.log.exists() else "", file=sys.stderr)
        raise
    finally:
        for process in (server.process, follower.process):
            if process and process.poll() is None:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
