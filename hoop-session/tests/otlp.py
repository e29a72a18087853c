"""Parses a file of OTLP/JSON with OpenTelemetry's own definitions, and says what is wrong with it."""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def to_base64(value):
    """OTLP/JSON has ids in hexadecimal digits; protobuf's JSON has bytes in base64."""
    if isinstance(value, list):
        return [to_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        if key in IDS:
            assert len(item) == 2 * IDS[key] and item == item.lower(), (key, item)
            out[key] = base64.b64encode(bytes.fromhex(item)).decode()
        else:
            out[key] = to_base64(item)
    return out


with open(sys.argv[1], encoding="utf-8") as file:
    document = to_base64(json.load(file))
request = json_format.ParseDict(document, ExportTraceServiceRequest())
(resource,) = request.resource_spans
(scope,) = resource.scope_spans
spans = {span.span_id: span for span in scope.spans}
assert len(spans) == len(scope.spans), "span ids are unique"
assert len({span.trace_id for span in scope.spans}) == 1, "a session is one trace"
roots = [span for span in scope.spans if not span.parent_span_id]
assert len(roots) == 1, [root.name for root in roots]
for span in scope.spans:
    assert not span.parent_span_id or span.parent_span_id in spans, span.name
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span.name
    for link in span.links:
        assert link.span_id in spans and link.trace_id == span.trace_id, span.name
names = {attribute.key for span in scope.spans for attribute in span.attributes}
for name in ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.arguments", "process.command_line"):
    assert name in names, name
denied = [event for span in scope.spans for event in span.events if any(a.key == "hoop.because" for a in event.attributes)]
print(json.dumps({"spans": len(spans), "links": sum(len(span.links) for span in scope.spans), "denied": len(denied)}))
