"""Models, paintings and the sample, made for the page: `python web/bundle.py`."""

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageOps
from torch import nn

WEB = Path(__file__).resolve().parent
ROOT = WEB.parent
sys.path.insert(0, str(ROOT))

from data.images import save_image, whole_file  # noqa: E402
from engines.browser import for_browsers  # noqa: E402
from engines.graph import Ports, export_graph  # noqa: E402
from models import (  # noqa: E402
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
PARTS = {"mask": Ports(mask_alone=True), "paint": Ports(takes_mask=True)}


def export_part(network: StyleNetwork, name: str, part: str, folder: Path) -> str:
    """Write one of a pair's two graphs; returns its file's name, which changes with its content.

    Pairs with the same mask branch and encoder share one mask graph.
    """
    if part == "mask":
        name = f"mask.{_digest(network.encoder, network.mask_branch)}"
        if found := list(folder.glob(f"{name}.*.onnx")):
            return found[0].name
    scratch = folder / f"{name}-{part}.part"
    export_graph(network, scratch, PARTS[part])
    for_browsers(scratch)
    digest = hashlib.sha256(scratch.read_bytes()).hexdigest()[:8]
    stem = name if part == "mask" else f"{name}-{part}"
    return scratch.replace(folder / f"{stem}.{digest}.onnx").name


def _digest(*modules: nn.Module) -> str:
    """Return eight hex digits for the weights of some modules."""
    found = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()[:8]


def thumbnail(painting: Path, folder: Path) -> str:
    """Write a small picture of a painting; returns its file's name."""
    path = folder / f"{painting.stem}.jpg"
    with Image.open(painting) as image:
        save_image(path, ImageOps.fit(image.convert("RGB"), THUMBNAIL), quality=80)
    return path.name


def bundle(public: Path = PUBLIC) -> None:
    """Write models, paintings, their list and the sample into the page's folder."""
    models, paintings = public / "models", public / "paintings"
    shutil.rmtree(models, ignore_errors=True)
    for folder in (models, paintings):
        folder.mkdir(parents=True, exist_ok=True)
    pairs = []
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
        entry |= {part: f"./models/{export_part(network, name, part, models)}" for part in PARTS}
        pairs.append(entry)
        print(f"{name}: exported")
    shutil.copyfile(SAMPLE, public / "sample.jpg")
    with whole_file(public / "pairs.json") as part:
        part.write_text(json.dumps(pairs, indent=1))


if __name__ == "__main__":
    bundle()
