"""A function in Python that does what its event or its request says."""

import sys

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import objects, topics
from wit_world.imports.kinglet_events_types import Failure_Reject
from wit_world.imports.wasi_http_types import (
    Fields,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

TABLE = {}


class Message(exports.Message):
    def handle(self, event):
        words = event.body.decode()
        if words == "raise":
            raise ValueError("there is no cat")
        if words == "reject":
            raise Err(Failure_Reject("never"))
        if words == "denied":
            objects.Bucket.open("secrets")
        topic = topics.Topic.open("shouts")
        body = words.upper().encode()
        topic.publish([topics.Draft(body, None, None, [], None)])
        print("table", len(TABLE), file=sys.stderr)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out):
        path = request.path_with_query()
        if path == "/raise":
            raise ValueError("there is no cat")
        response = OutgoingResponse(Fields.from_list([]))
        if path == "/error":
            response.set_status_code(500)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        if path == "/error":
            raise ValueError("there is no cat")
        with body.write() as stream:
            stream.blocking_write_and_flush(b"table " + str(len(TABLE)).encode())
        OutgoingBody.finish(body, None)


class Init(exports.Init):
    def run(self):
        TABLE.update((n, n * n) for n in range(1000))
