"""The page's server: what it refuses, and what it says of the page."""

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from web.serve import Handler, make_server


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("the page")
    (folder / "assets" / "a.mjs").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    server = make_server(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def get(port: int, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    response = connection.getresponse()
    return response, response.read()


def test_page_is_served_with_a_policy(port: int) -> None:
    response, body = get(port, "/")
    assert response.status == 200 and body == b"the page"
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'self'" in policy and "object-src 'none'" in policy
    assert "'unsafe-inline'" not in policy and "'unsafe-eval'" not in policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Cross-Origin-Embedder-Policy") == "require-corp"
    assert get(port, "/assets/a.mjs")[0].getheader("Content-Type") == "text/javascript"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/%00", 400),
        ("/index.html%00.png", 400),
        ("/link.txt", 404),
        ("/up/secret.txt", 404),
        ("/../secret.txt", 404),
        ("/%2e%2e/secret.txt", 404),
        ("/assets/", 404),
        ("/none", 404),
    ],
)
def test_nothing_outside_of_the_folder(port: int, path: str, status: int) -> None:
    response, body = get(port, path)
    assert response.status == status and b"secret" not in body
    assert response.getheader("X-Content-Type-Options") == "nosniff"


def test_silent_connections_end(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Handler.timeout is not None
    monkeypatch.setattr(Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_lock_file_names_versions_and_digests_but_no_addresses() -> None:
    import json

    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    named = json.loads((ROOT / "web" / "package.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {**named["dependencies"], **named["devDependencies"]}.items() <= {
        name.removeprefix("node_modules/"): entry["version"] for name, entry in packages.items()
    }.items()
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
