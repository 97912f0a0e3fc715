#!/usr/bin/env python3
"""Holds spans that receiver.py wrote against what was sent.

    check.py FILE tree TRACE PARENT PATH STATUS EVENTS BYTES    the trace is exactly this request, through every stage
    check.py FILE refused TRACE PARENT PATH STATUS              the trace is a request that was refused while it was read
    check.py FILE delivered TRACE DESTINATION                   an attempt to deliver names the request as its cause
    check.py FILE absent TRACE                                  nothing of the trace is there
    check.py FILE roots                                         how many requests were followed

Ends with 1 and a reason where it is not so.
"""

import json
import sys

STAGES = ["read", "parse", "append", "commit", "apply", "answer"]
HOUR_NS = 3_600 * 10**9


def load(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def the_trace(spans, trace):
    found = [span for span in spans if span["trace"] == trace]
    ids = [span["span"] for span in found]
    assert len(set(ids)) == len(ids), "a span is there twice"
    for span in found:
        assert span["resource"]["service.name"] == "throughline", span
        assert len(span["span"]) == 16 and span["span"] != "0" * 16, span
        assert span["start_ns"] <= span["end_ns"], span
        assert span["flags"] & 1, f"not marked as sampled: {span}"
    roots = [span for span in found if span["kind"] == "SPAN_KIND_SERVER"]
    assert len(roots) == 1, f"{len(roots)} requests in one trace"
    return roots[0], [span for span in found if span is not roots[0]]


def check_root(root, parent, path, status):
    assert root["name"] == f"POST {path}", root
    assert root["parent"] == parent, root
    assert root["flags"] == 0x301, "the parent is in another process, and the flags must say so"
    assert root["attributes"]["http.request.method"] == "POST", root
    assert root["attributes"]["url.path"] == path, root
    assert root["attributes"]["http.response.status_code"] == int(status), root
    assert root["status"] == "STATUS_CODE_UNSET", root


def check_children(root, children):
    for child in children:
        assert child["parent"] == root["span"], child
        assert child["kind"] == "SPAN_KIND_INTERNAL", child
        assert child["flags"] == 0x101, child
        inside = root["start_ns"] <= child["start_ns"] and child["end_ns"] <= root["end_ns"]
        assert inside, f"{child['name']} is not inside the request"
    for before, after in zip(children, children[1:]):
        assert before["end_ns"] <= after["start_ns"], f"{after['name']} begins before {before['name']} ends"


def tree(spans, trace, parent, path, status, events, length):
    root, children = the_trace(spans, trace)
    check_root(root, parent, path, status)
    children.sort(key=lambda span: (span["start_ns"], STAGES.index(span["name"])))
    assert [span["name"] for span in children] == STAGES, [span["name"] for span in children]
    check_children(root, children)
    # Nothing is guessed: the stages of the door touch each other and the request, those of the shard follow.
    by_name = {span["name"]: span for span in children}
    for one, other in [("read", "parse"), ("append", "commit"), ("apply", "answer")]:
        assert by_name[one]["end_ns"] == by_name[other]["start_ns"], f"a gap between {one} and {other}"
    assert by_name["read"]["start_ns"] == root["start_ns"]
    assert by_name["answer"]["end_ns"] == root["end_ns"]
    assert by_name["commit"]["end_ns"] > by_name["commit"]["start_ns"], "a sync takes time"
    assert by_name["apply"]["end_ns"] > by_name["apply"]["start_ns"], "applying takes time"
    own = root["attributes"]
    assert own["throughline.events"] == int(events), own
    assert own["http.request.body.size"] == int(length), own
    group, frame = by_name["commit"]["attributes"], by_name["apply"]["attributes"]
    assert group["throughline.group.records"] >= frame["throughline.frame.records"] >= int(events), (group, frame)
    assert group["throughline.group.submissions"] >= 1 and group["throughline.group.frames"] >= 1, group
    assert group["throughline.group.bytes"] >= frame["throughline.frame.bytes"] > 0, (group, frame)
    assert frame["throughline.frame.duplicates"] == 0, frame
    assert frame["throughline.frame.unplanned_reads"] >= 0, frame
    whole = (root["end_ns"] - root["start_ns"]) / 1e6
    shares = ", ".join(f"{name} {(by_name[name]['end_ns'] - by_name[name]['start_ns']) / 1e6:.3f}" for name in STAGES)
    print(f"one tree of {len(children) + 1} spans, {whole:.3f} ms: {shares}")


def refused(spans, trace, parent, path, status):
    root, children = the_trace(spans, trace)
    check_root(root, parent, path, status)
    assert [span["name"] for span in children] == ["read"], [span["name"] for span in children]
    check_children(root, children)
    assert "throughline.position" not in root["attributes"], root


def delivered(spans, trace, destination):
    root, _ = the_trace(spans, trace)
    cause = [trace, root["span"]]
    found = [span for span in spans if span["name"] == "deliver" and cause in span["links"]]
    assert found, "no attempt to deliver names the request"
    first = root["attributes"]["throughline.position"]
    for span in found:
        assert span["trace"] != trace and span["parent"] == "", span
        assert span["kind"] == "SPAN_KIND_CLIENT", span
        assert root["start_ns"] <= span["start_ns"] <= span["end_ns"] <= root["start_ns"] + HOUR_NS, span
        own = span["attributes"]
        assert own["throughline.destination"] == destination, span
        assert own["throughline.outcome"] == "delivered" and span["status"] == "STATUS_CODE_UNSET", span
        assert first <= own["throughline.position"] < first + root["attributes"]["throughline.events"], span
        assert own["throughline.parcels"] >= 1, span
    print(f"attempts to deliver that name the request: {len(found)}")


def absent(spans, trace):
    assert not any(span["trace"] == trace for span in spans), "it was followed"


def roots(spans):
    print(sum(span["kind"] == "SPAN_KIND_SERVER" for span in spans))


def main():
    path, what, *rest = sys.argv[1:]
    checks = {"tree": tree, "refused": refused, "delivered": delivered, "absent": absent, "roots": roots}
    try:
        checks[what](load(path), *rest)
    except (AssertionError, KeyError) as error:
        sys.exit(f"{what}: {error!r}")


if __name__ == "__main__":
    main()
