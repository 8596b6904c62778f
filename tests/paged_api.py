"""A local JSON API in pages that fails, repeats and throttles, for tests of the collector."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def items(count):
    return [
        {
            "item_id": str(7_000_000_000_000_000_000 + number), "author": {"open_id": f"a{number % 7}"},
            "title": f"Clip {number}", "hashtags": [{"name": "cats"}, {"name": f"t{number % 3}"}], "music": {"id": 12},
            "duration": 12.5, "create_time": 1_795_536_000 + number, "media_type": 4,
        }
        for number in range(count)
    ]  # fmt: skip


class PagedApi:
    """Serves `items` in pages that overlap by `overlap`.

    Attributes:
      faults: answers to give before the next good one, in order: a status, or a word (`cut`, `text`).
      asked: cursors, in order.
    """

    def __init__(self, found, size=10, overlap=0, token=""):
        self.items, self.size, self.overlap, self.token = found, size, overlap, token
        self.faults, self.asked = [], []

    def answer(self, cursor):
        start = max(0, int(cursor or 0) - self.overlap) if cursor else 0
        end = min(int(cursor or 0) + self.size, len(self.items))
        return {"data": {"list": self.items[start:end], "cursor": end, "has_more": end < len(self.items)}}


def handler_of(api):
    """Return the request handler that answers for the API."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            cursor = parse_qs(urlsplit(self.path).query).get("cursor", [""])[0]
            api.asked.append(cursor)
            if api.token and self.headers.get("Authorization") != f"Bearer {api.token}":
                self.send(401, b"{}")
            elif api.faults:
                self.fail(api.faults.pop(0))
            else:
                self.send(200, json.dumps(api.answer(cursor)).encode())

        def fail(self, fault):
            if fault == "cut":
                self.connection.close()
            elif fault == "text":
                self.send(200, b"<html>busy</html>")
            else:
                self.send(fault, b"{}", [("Retry-After", "2")] if fault == 429 else [])

        def send(self, status, body, headers=()):
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a cut connection


@contextmanager
def serving(api):
    """Yield the address of the API."""
    with Server(("127.0.0.1", 0), handler_of(api)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/open/video/list"
        finally:
            server.shutdown()
            thread.join()
