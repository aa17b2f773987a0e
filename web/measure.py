"""Measure frames per second of the built page in Chromium: `python web/measure.py`."""

import argparse
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serve import DIST, make_server

SIZES = ((256, 256), (320, 180))  # width, height
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream",
         "--use-fake-ui-for-media-stream"]  # fmt: skip
COUNT = "Number(document.body.dataset.painted)"
WARM = 15  # frames before the measurement


def write_camera(path: Path, width: int, height: int) -> None:
    """Write a clip of moving noise, 60 frames per second, as the camera of Chromium."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (height, 2 * width), dtype=np.uint8)
    chroma = np.full((height // 2, width // 2), 128, np.uint8).tobytes()
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F60:1 Ip A1:1 C420jpeg\n" % (width, height))
        for shift in range(0, width, 8):
            file.write(b"FRAME\n" + ground[:, shift : shift + width].tobytes() + 2 * chroma)


def measure(chromium: str, width: int, height: int, seconds: float) -> float:
    """Measure frames per second at a size, with the mask network running in parallel."""
    server = make_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera = Path(folder) / "camera.y4m"
        write_camera(camera, width, height)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        )
        page = browser.new_page(bypass_csp=True)
        page.goto(f"http://localhost:{server.server_port}/?side={(width * height) ** 0.5}")
        page.wait_for_function(f"{COUNT} > 0")
        page.click("#camera")
        page.wait_for_function(f"{COUNT} > {WARM}")
        rate = page.evaluate(
            f"""(seconds) => {{
              const [first, began] = [{COUNT}, performance.now()];
              return new Promise((resolve) => setTimeout(() =>
                resolve(1000 * ({COUNT} - first) / (performance.now() - began)), 1000 * seconds));
            }}""",
            seconds,
        )
        assert page.get_attribute("body", "data-size") == f"{width}x{height}"
        engine = page.get_attribute("#status", "data-engine")
        print(f"{width}x{height}  {rate:5.1f} frames/s  ({engine})")
        browser.close()
    server.shutdown()
    return rate


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="measure.py", description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="path of the browser")
    parser.add_argument(
        "--seconds", type=float, default=20, help="duration for each size (default: 20)"
    )
    args = parser.parse_args()
    for needed, remedy in (
        (Path(args.chromium), "install Chromium, or give its path with --chromium"),
        (DIST / "index.html", "run make web-build"),
    ):
        if not needed.exists():
            print(f"measure.py: {needed} is missing; {remedy}", file=sys.stderr)
            return 2
    for width, height in SIZES:
        measure(args.chromium, width, height, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
