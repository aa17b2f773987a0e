"""Serve the built page on the loopback: `python web/serve.py [PORT]`."""

import functools
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

DIST = Path(__file__).resolve().parent / "dist"
TIMEOUT = 30  # seconds that a connection may say nothing
# The page and its workers ask nobody else; WebAssembly is compiled, pictures and clips are blobs.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SAFETY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
HEADERS = {  # threads share memory only on a page that is isolated
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Handler(SimpleHTTPRequestHandler):
    """Files, with what a browser wants to hear about them."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".onnx": "application/octet-stream",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }
    isolates = True
    timeout = TIMEOUT

    def send_head(self) -> BinaryIO | None:
        """Answer 400 to a name that no file can have, and 404 to what leads out of the folder."""
        if "\0" in unquote(self.path):
            self.send_error(HTTPStatus.BAD_REQUEST, "No file has such a name")
            return None
        folder = Path(self.directory).resolve()
        if not Path(self.translate_path(self.path)).resolve().is_relative_to(folder):
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        return super().send_head()

    def list_directory(self, path: str) -> None:
        """Answer 404: a folder is not listed."""
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")

    def end_headers(self) -> None:
        """Add the headers above."""
        for name, value in HEADERS.items() if self.isolates else ():
            self.send_header(name, value)
        for name, value in SAFETY.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing of each file."""


class Plain(Handler):
    """A host that sends no such headers."""

    isolates = False


class Server(ThreadingHTTPServer):
    """Says nothing of browsers that go away in the middle of a file."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report what went wrong with a request, unless the other side ended it."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def make_server(folder: Path = DIST, port: int = 0, isolates: bool = True) -> ThreadingHTTPServer:
    """A server on the loopback, not yet serving. `port` 0: one that is free."""
    handler = Handler if isolates else Plain
    return Server(("127.0.0.1", port), functools.partial(handler, directory=str(folder)))


def main() -> int:
    """Serve until Ctrl-C; returns the exit code."""
    if not (DIST / "index.html").exists():
        print(f"serve.py: {DIST}: the page is not built; make web-build", file=sys.stderr)
        return 2
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
        server = make_server(port=port)
    except (ValueError, OSError, OverflowError) as error:
        print(f"serve.py: {error}; name a free port, 1024 to 65535", file=sys.stderr)
        return 2
    print(f"http://localhost:{server.server_port}/ (Ctrl-C ends)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
