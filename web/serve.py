"""Serve the built page on the loopback: `python web/serve.py [PORT]`."""

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIST = Path(__file__).resolve().parent / "dist"
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

    def end_headers(self) -> None:
        """Add the headers above."""
        for name, value in HEADERS.items() if self.isolates else ():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing of each file."""


class Plain(Handler):
    """A host that sends no such headers."""

    isolates = False


def make_server(folder: Path = DIST, port: int = 0, isolates: bool = True) -> ThreadingHTTPServer:
    """A server on the loopback, not yet serving. `port` 0: one that is free."""
    handler = Handler if isolates else Plain
    return ThreadingHTTPServer(
        ("127.0.0.1", port), functools.partial(handler, directory=str(folder))
    )


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
