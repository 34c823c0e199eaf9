"""A licensing server for tests. It answers with what the test puts into `responses`, or what that
returns.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

REFRESH = "/api/licenses/refresh"
KEYS = "/.well-known/license-keys"
STATUS = "/.well-known/license-status/1"


class Response(NamedTuple):
    status: int
    body: Union[str, bytes, Dict[str, Any]] = ""
    headers: Tuple[Tuple[str, str], ...] = ()


class Received(NamedTuple):
    method: str
    path: str
    authorization: Optional[str]


def problem(status: int, code: str, **headers: str) -> Response:
    """Returns a problem document (RFC 9457)."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, {"status": status, "code": code, "title": code}, pairs)


class FakeServer:
    """Listens on a free port of the loopback interface while it is used as a context."""

    def __init__(self) -> None:
        self.responses: Dict[str, Union[Response, Callable[[], Response]]] = {}
        self.received: List[Received] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake._answer(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> List[str]:
        return [received.path for received in self.received]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        authorization = handler.headers.get("Authorization")
        self.received.append(Received(handler.command, handler.path, authorization))
        set_response = self.responses.get(handler.path, problem(404, "not_found"))
        response = set_response() if callable(set_response) else set_response
        body = json.dumps(response.body) if isinstance(response.body, dict) else response.body
        content = body.encode() if isinstance(body, str) else body
        handler.send_response(response.status)
        for name, value in response.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
