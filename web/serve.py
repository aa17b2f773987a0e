"""Serve the built page on localhost: `python web/serve.py [PORT]`."""

import functools
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

DIST = Path(__file__).resolve().parent / "dist"
TIMEOUT = 30  # seconds without data before a connection is closed
# The page loads from its own host only; it compiles WebAssembly and uses blobs for media.
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
HEADERS = {  # cross-origin isolation, needed by threads with shared memory
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Handler(SimpleHTTPRequestHandler):
    """Serves files with content types, security and isolation headers."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".onnx": "application/octet-stream",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
    }
    isolates = True
    timeout = TIMEOUT

    def send_head(self) -> BinaryIO | None:
        """Answer 400 to invalid file names and 404 to paths outside of the folder."""
        if "\0" in unquote(self.path):
            self.send_error(HTTPStatus.BAD_REQUEST, "Invalid file name")
            return None
        folder = Path(self.directory).resolve()
        if not Path(self.translate_path(self.path)).resolve().is_relative_to(folder):
            self.send_error(HTTPStatus.NOT_FOUND, "File not found")
            return None
        return super().send_head()

    def list_directory(self, path: str) -> None:
        """Answer 404 instead of listing a folder."""
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")

    def end_headers(self) -> None:
        """Add the headers."""
        for name, value in HEADERS.items() if self.isolates else ():
            self.send_header(name, value)
        for name, value in SAFETY.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Do not log requests."""


class Plain(Handler):
    """Serves without isolation headers, as many hosts do."""

    isolates = False


class Server(ThreadingHTTPServer):
    """Does not report closed connections."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report errors other than a closed connection."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def make_server(folder: Path = DIST, port: int = 0, isolates: bool = True) -> ThreadingHTTPServer:
    """Create a server on localhost, not yet serving. `port` 0: any free port."""
    handler = Handler if isolates else Plain
    return Server(("127.0.0.1", port), functools.partial(handler, directory=str(folder)))


def main() -> int:
    """Serve until Ctrl-C and return the exit code."""
    if not (DIST / "index.html").exists():
        print(f"serve.py: {DIST}: the page is not built; run make web-build", file=sys.stderr)
        return 2
    try:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
        server = make_server(port=port)
    except (ValueError, OSError, OverflowError) as error:
        print(f"serve.py: {error}; choose a free port from 1024 to 65535", file=sys.stderr)
        return 2
    print(f"http://localhost:{server.server_port}/ (Ctrl-C ends)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
