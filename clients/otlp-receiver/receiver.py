#!/usr/bin/env python3
"""A collector of traces that knows nothing of us: OTLP over HTTP, read with the classes that OpenTelemetry generates
from the protocol's own definition.

Listens on loopback, prints its port, and appends each span that it takes to a file as one line of JSON. A field that the
definition does not know, another content type or a body that is no request is an error, told on standard error and with
status 400.

    receiver.py FILE [--port N] [--refuse N]    N requests are answered with 503 before the first is taken
"""

import argparse
import http.server
import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

BODY_BYTES_MAX = 8 << 20


def check_known(message, path="request"):
    """Every field must be one of the definition, all the way down."""
    if len(UnknownFieldSet(message)) > 0:
        raise ValueError(f"{path} has a field that the definition does not know")
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        values = value if hasattr(value, "__len__") and not hasattr(value, "ListFields") else [value]
        for one in values:
            check_known(one, f"{path}.{field.name}")


def attributes_of(holder):
    found = {}
    for attribute in holder.attributes:
        kind = attribute.value.WhichOneof("value")
        if kind not in ("string_value", "int_value"):
            raise ValueError(f"{attribute.key} is a {kind}")
        if attribute.key in found:
            raise ValueError(f"{attribute.key} is there twice")
        found[attribute.key] = getattr(attribute.value, kind)
    return found


def spans_of(request):
    for resource_spans in request.resource_spans:
        resource = attributes_of(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "resource": resource,
                    "scope": scope_spans.scope.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "status": Status.StatusCode.Name(span.status.code),
                    "flags": span.flags,
                    "start_ns": span.start_time_unix_nano,
                    "end_ns": span.end_time_unix_nano,
                    "attributes": attributes_of(span),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                }


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    out = None
    refuse = 0

    def do_POST(self):
        try:
            length = int(self.headers["content-length"])
            if length > BODY_BYTES_MAX:
                raise ValueError(f"a body of {length} bytes")
            body = self.rfile.read(length)
            if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
                raise ValueError(f"{self.path} with {self.headers['content-type']}")
            if Collector.refuse > 0:
                Collector.refuse -= 1
                self.answer(503, b"")
                return
            request = ExportTraceServiceRequest.FromString(body)
            check_known(request)
            lines = [json.dumps(span, sort_keys=True) + "\n" for span in spans_of(request)]
            self.out.write("".join(lines))
            self.out.flush()
            self.answer(200, ExportTraceServiceResponse().SerializeToString())
        except Exception as error:  # Whatever is wrong, the sender is told, and so is whoever reads the output.
            print(f"refused: {error!r}", file=sys.stderr, flush=True)
            self.answer(400, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--refuse", type=int, default=0)
    arguments = parser.parse_args()
    Collector.refuse = arguments.refuse
    with open(arguments.file, "a", encoding="utf-8") as out:
        Collector.out = out
        server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Collector)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
