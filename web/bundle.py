"""Write the page's models, paintings and sample picture: `python web/bundle.py`."""

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageOps

WEB = Path(__file__).resolve().parent
ROOT = WEB.parent
sys.path.insert(0, str(ROOT))

from duostyle.export.browser import for_browsers  # noqa: E402
from duostyle.export.graph import GraphSignature, export_graph  # noqa: E402
from duostyle.files import atomic_writer  # noqa: E402
from duostyle.inference.engine import fingerprint  # noqa: E402
from duostyle.io.images import save_image  # noqa: E402
from duostyle.models import (  # noqa: E402
    SMALL,
    StyleNetwork,
    describe,
    load_pair,
    read_header,
    shipped_checkpoints,
)

PUBLIC = WEB / "public"
SAMPLE = ROOT / "assets" / "photos" / "astronaut.jpg"
STYLES = ROOT / "assets" / "styles"
THUMBNAIL = (180, 240)  # pixels
PARTS = {"mask": GraphSignature(mask_only=True), "paint": GraphSignature(mask_input=True)}


def export_part(network: StyleNetwork, part: str, folder: Path, known: dict[str, str]) -> str:
    """Write one of a pair's two graphs; return its file name, which contains its digest.

    `known`: file names of the graphs so far; pairs with the same mask branch share one.
    """
    reads = (network.mask_branch,) if part == "mask" else ()
    key = f"{part} {fingerprint(network, *reads)}"
    if key not in known:
        scratch = folder / f"{part}.part"
        export_graph(network, scratch, PARTS[part])
        for_browsers(scratch)
        digest = hashlib.sha256(scratch.read_bytes()).hexdigest()[:8]
        known[key] = scratch.replace(folder / f"{part}.{digest}.onnx").name
    return known[key]


def thumbnail(painting: Path, folder: Path) -> str:
    """Write a thumbnail of a painting; return its file name."""
    path = folder / f"{painting.stem}.jpg"
    with Image.open(painting) as image:
        save_image(path, ImageOps.fit(image.convert("RGB"), THUMBNAIL), quality=80)
    return path.name


def bundle(public: Path = PUBLIC) -> None:
    """Write models, thumbnails, the list of pairs and the sample picture to `public`."""
    models, paintings = public / "models", public / "paintings"
    shutil.rmtree(models, ignore_errors=True)
    for folder in (models, paintings):
        folder.mkdir(parents=True, exist_ok=True)
    pairs: list[dict[str, object]] = []
    known: dict[str, str] = {}
    for name in [name for name in shipped_checkpoints() if name.endswith(SMALL)]:
        entry: dict[str, object] = {"name": name.removesuffix(SMALL)}
        styles = [style["file"] for style in read_header(name)["styles"]]
        for role, painting, file in zip(
            ("foreground", "background"), describe(name), styles, strict=True
        ):
            entry[role] = asdict(painting) | {
                "picture": f"./paintings/{thumbnail(STYLES / file, paintings)}"
            }
        network = load_pair(name)
        entry |= {part: f"./models/{export_part(network, part, models, known)}" for part in PARTS}
        pairs.append(entry)
        print(f"{name}: exported")
    shutil.copyfile(SAMPLE, public / "sample.jpg")
    with atomic_writer(public / "pairs.json") as part:
        part.write_text(json.dumps(pairs, indent=1))
    print(f"wrote {public / 'pairs.json'}: {len(pairs)} pairs, {len(known)} graphs")


if __name__ == "__main__":
    bundle()
