#!/usr/bin/env python3
"""A follower of the change feed: keeps who is suppressed for what, and who is in which audience, in memory.

It begins with the snapshot, goes on from the cursor that ends it, and after any break goes on from its last cursor. A
cursor that is gone (410) costs a new snapshot, nothing else. It needs Python's standard library only, and is meant to
be read: this is all that a follower has to do.

    FEED_TOKEN=... follower.py --url http://127.0.0.1:7311 --state FILE [--save-seconds S]

SIGUSR1 writes the state to FILE, in one step. With --save-seconds it is written that often too, and a follower that is
started again goes on from FILE. Without, it begins with a snapshot.
"""

import argparse
import http.client
import json
import os
import signal
import sys
import time
import urllib.parse

# What keeps the state up to date. A merge ends the suppression of the profile that is no more without saying so.
KINDS = [
    "suppression.started",
    "suppression.ended",
    "audience.entered",
    "audience.exited",
    "profile.merged",
    "profile.erased",
]
WAIT_MS = 3_600_000
# Heartbeats come every second: a connection that is silent for longer is dead.
SILENCE_SECONDS = 15
RETRY_SECONDS = (0.05, 2.0)
LINE_BYTES_MAX = 16 << 20


class Gone(Exception):
    """The feed cannot go on from the cursor."""


class State:
    """What is known, and where it stands."""

    def __init__(self):
        self.suppressed = {}  # profile -> {scope: until}
        self.audiences = {}  # profile -> {audience number: since}
        self.cursor = None
        self.position = 0
        self.snapshots = 0
        self.gone = 0

    def forget(self, profile):
        self.suppressed.pop(profile, None)
        self.audiences.pop(profile, None)

    def take(self, item):
        """Applies an item of the feed. Doing it twice is the same as doing it once."""
        kind, profile, detail = item["kind"], item.get("profile"), item.get("detail", {})
        if kind == "suppression.started":
            scopes = self.suppressed.setdefault(profile, {})
            scopes.update((one["scope"], one["until"]) for one in detail["scopes"])
        elif kind == "suppression.ended":
            scopes = self.suppressed.get(profile, {})
            for scope in detail["scopes"]:
                scopes.pop(scope, None)
            if not scopes:
                self.suppressed.pop(profile, None)
        elif kind == "audience.entered":
            self.audiences.setdefault(profile, {})[str(detail["audience_number"])] = detail["since"]
        elif kind == "audience.exited":
            members = self.audiences.get(profile, {})
            members.pop(str(detail["audience_number"]), None)
            if not members:
                self.audiences.pop(profile, None)
        elif kind == "profile.merged":
            self.forget(detail["from"])
        elif kind == "profile.erased":
            self.forget(profile)

    def to_json(self):
        return vars(self)

    @classmethod
    def from_json(cls, known):
        state = cls()
        vars(state).update(known)
        return state


class Follower:
    def __init__(self, arguments):
        self.url = urllib.parse.urlsplit(arguments.url)
        self.token = os.environ["FEED_TOKEN"]
        self.path = arguments.state
        self.save_seconds = arguments.save_seconds
        self.saved_at = time.monotonic()
        self.asked = False
        self.state = State()
        if self.save_seconds and os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.state = State.from_json(json.load(file))

    def ask(self, *_):
        self.asked = True

    def write(self):
        """Replaces the file in one step: a reader sees the old or the new one, whole."""
        temporary = f"{self.path}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.state.to_json(), file)
        os.replace(temporary, self.path)

    def house_keeping(self):
        due = self.save_seconds and time.monotonic() - self.saved_at > self.save_seconds
        if self.asked or due:
            self.asked, self.saved_at = False, time.monotonic()
            self.write()

    def lines(self, path):
        """The lines of an answer, as objects. A last line that was cut off is left out."""
        connection = http.client.HTTPConnection(self.url.netloc, timeout=SILENCE_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            if answer.status == 410:
                raise Gone
            if answer.status != 200:
                raise OSError(f"{answer.status}: {answer.read(4096)!r}")
            while True:
                line = answer.readline(LINE_BYTES_MAX)
                if not line.endswith(b"\n"):
                    return
                yield json.loads(line)
        finally:
            connection.close()

    def snapshot(self):
        """Begins anew. The state that was there holds until the new one is whole."""
        fresh = State()
        fresh.snapshots, fresh.gone = self.state.snapshots + 1, self.state.gone
        for line in self.lines(f"/feed/v1/snapshot?kinds={','.join(KINDS)}"):
            if line["kind"] == "suppression.state":
                fresh.suppressed[line["profile"]] = {one["scope"]: one["until"] for one in line["scopes"]}
            elif line["kind"] == "audience.state":
                members = {str(one["audience_number"]): one["since"] for one in line["audiences"]}
                fresh.audiences[line["profile"]] = members
            elif line["kind"] == "snapshot.end":
                fresh.cursor, fresh.position = line["cursor"], line["position"]
                self.state = fresh
                return
            self.house_keeping()
        raise OSError("the snapshot was cut off")

    def follow(self):
        path = f"/feed/v1?wait_ms={WAIT_MS}&kinds={','.join(KINDS)}&after={self.state.cursor}"
        for item in self.lines(path):
            if item["kind"] == "gone":
                raise Gone
            if item["kind"] == "heartbeat":
                self.state.position = item["position"]
            else:
                self.state.take(item)
            self.state.cursor = item["cursor"]
            self.house_keeping()

    def run(self):
        retry = RETRY_SECONDS[0]
        while True:
            try:
                if self.state.cursor is None:
                    self.snapshot()
                retry = RETRY_SECONDS[0]
                self.follow()
            except Gone:
                self.state.gone += 1
                self.state.cursor = None
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(f"follower: {error}; trying again", file=sys.stderr)
                self.house_keeping()
                time.sleep(retry)
                retry = min(2 * retry, RETRY_SECONDS[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7311")
    parser.add_argument("--state", required=True, metavar="FILE")
    parser.add_argument("--save-seconds", type=float, default=0)
    follower = Follower(parser.parse_args())
    signal.signal(signal.SIGUSR1, follower.ask)
    follower.run()


if __name__ == "__main__":
    main()
