"""ratings: a service in another language. It knows nothing of Cleave; it listens on PORT.

GET /ratings/{restaurant} answers the restaurant's rating; GET /health answers ok.
"""
import json
import os
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ratings(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, _, restaurant = self.path.strip("/").partition("/")
        if kind == "health":
            return self.answer(200, {"status": "ok"})
        if kind != "ratings" or not restaurant:
            return self.answer(404, {"error": "try /ratings/RESTAURANT"})
        self.answer(200, {"restaurant": restaurant, "stars": 1 + zlib.crc32(restaurant.encode()) % 5})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
    ThreadingHTTPServer(address, Ratings).serve_forever()
