"""Fuzzing: mutated pictures, masks, labels, checkpoints, settings, training states and clips.

Every input ends well, or with one line that names the file, and leaves no partial result. Quick
here; `make fuzz` tries as many as DUOSTYLE_FUZZ says and prints the counts.
"""

import json
import os
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.cli import paint as paint_command
from duostyle.cli import train
from duostyle.data.masks import read_labels
from duostyle.io.images import PictureError, read_picture
from duostyle.models import CheckpointError, StyleNetwork, load_checkpoint
from duostyle.training.optim import Muon, averaged_model, is_kernel
from duostyle.training.settings import TrainConfig
from duostyle.training.state import STATE_FILE, TrainState, restore_network
from tests.conftest import ROOT, TINY

INPUTS = int(os.environ.get("DUOSTYLE_FUZZ", "112"))
SEED = int(os.environ.get("DUOSTYLE_FUZZ_SEED", "19"))
MOST_SECONDS = 30
MOST_MEMORY = 2 << 30  # bytes, beyond what the tests need themselves
SIZE = (40, 32)  # pixels
PICTURES = ("png", "jpg", "gif", "webp", "tif", "bmp", "ppm", "tga", "pcx", "ico", "jp2", "dds")
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
VALUES = (
    None, True, "3", -1, 0, 1.5, 1e308, float("nan"), float("inf"), 10**40, [], {}, "a\0b", [[]],
)  # fmt: skip


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to four changes of bytes: flipped, cut, doubled, zeroed, extreme numbers, splices."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Headers matter more than pixels.
        reach = len(out) if rng.random() < 0.5 else min(len(out), 200)
        at = rng.randrange(max(reach, 1))
        length = rng.randint(1, 64)
        match rng.choice((0, 0, 0, 1, 2, 3, 4, 4, 4, 5, 6)):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[rng.randrange(max(len(out), 1)) :]
            case 2:
                out[at:at] = out[at : at + length] * rng.randint(1, 3)
            case 3:
                out[at : at + length] = bytes(len(out[at : at + length]))
            case 4:
                kind = rng.choice(("<H", ">H", "<I", ">I", "B"))
                most = 256 ** struct.calcsize(kind) - 1
                number = struct.pack(kind, rng.choice(EXTREMES) & most)
                out[at : at + len(number)] = number
            case 5:
                del out[at : at + length]
            case 6:
                other = rng.choice(others)
                out[at:] = other[rng.randrange(max(len(other), 1)) :]
    return bytes(out)


def mutate_json(value: object, rng: random.Random) -> object:
    """Put another value, or an unknown name, at a random place of a JSON object."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        match rng.randrange(6):
            case 0:
                return {key: part for key, part in value.items() if key != name}
            case 1:
                return value | {"unknown": rng.choice(VALUES)}
            case 2 if isinstance(value[name], dict):
                return value | {name: mutate_json(value[name], rng)}
            case _:
                return value | {name: rng.choice(VALUES)}
    return rng.choice(VALUES)


def mutate_header(data: bytes, key: str, rng: random.Random, others: list[bytes]) -> bytes:
    """Mutate a safetensors file: its bytes, its table of tensors, or the JSON under `key`."""
    if rng.random() < 0.3:
        return mutate(data, rng, others)
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    match rng.randrange(4):
        case 0:
            header = mutate_json(header, rng)
        case 1:
            at = 2 * rng.randrange(len(body) // 2)  # NaN, in half and in single precision
            body = body[:at] + b"\xff\xff\xff\xff" + body[at + 4 :]
        case _:
            kept = json.loads(header["__metadata__"][key])
            changed = json.dumps(mutate_json(kept, rng))
            if rng.random() < 0.1:
                changed = "[" * rng.randint(1, 100_000)
            header["__metadata__"][key] = changed
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small valid file of every kind, by suffix."""
    folder = tmp_path_factory.mktemp("seeds")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for suffix in PICTURES:
        image.save(folder / f"a.{suffix}")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "b.jpg", exif=exif, progressive=True)
    image.convert("CMYK").save(folder / "b.tif", compression="tiff_lzw")
    Image.fromarray(noise[..., 0].astype(np.float32) / 255).save(folder / "c.tif")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "b.png")
    image.save(folder / "b.gif", save_all=True, append_images=[image.rotate(90)])
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.roll(noise[:32, :32], number, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def run_state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state of a run of the tiny network after a step."""
    folder = tmp_path_factory.mktemp("run")
    state = tiny_state()
    content = torch.rand(1, 3, 16, 16)
    state.network(content, 0.5, torch.ones(1, 1, 16, 16)).mean().backward()
    for optimizer in state.optimizers:
        optimizer.step()
    state.step, state.pictures = 1, 4
    state.save(folder)
    return (folder / STATE_FILE).read_bytes()


def tiny_state() -> TrainState:
    """The state of a run of the tiny network before its first step."""
    network = StyleNetwork(TINY).train()
    kernels = [p for p in network.parameters() if is_kernel(p)]
    rest = [p for p in network.parameters() if not is_kernel(p)]
    optimizers = [Muon(kernels, 1e-3), torch.optim.Adam(rest, 1e-3)]
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return TrainState(network, averaged_model(network, 0.9), optimizers, scaler)


class Fuzz:
    """Mutated files through the code that people call; each method returns whether it went well."""

    def __init__(self, folder: Path, network: StyleNetwork, checkpoint: Path, capsys) -> None:
        self.folder, self.network, self.checkpoint, self.capsys = (
            folder,
            network,
            checkpoint,
            capsys,
        )

    def paint(self, path: Path, *argv: object, out: str) -> bool:
        """Paint `path`'s picture or clip: a whole result, or one line that names the file."""
        target = self.folder / "out" / out
        code = paint_command.main([*map(str, argv), "-o", str(target)])
        lines = self.capsys.readouterr().err.strip().splitlines()
        left = [p.name for p in target.parent.glob("*")] if target.parent.exists() else []
        if code == 0:
            assert left == [out], left
            if target.suffix == ".png":
                read_picture(target)
            target.unlink()
            return True
        assert code == 2, code
        assert not left, left
        about = [line for line in lines if line.startswith("duostyle paint: ")]
        assert len(about) == 1 and path.name in about[0], lines
        return False

    def picture(self, path: Path) -> bool:
        return self.paint(path, path, "--checkpoint", self.checkpoint, out="a.png")

    def mask(self, path: Path) -> bool:
        photo = self.folder / "whole.png"
        argv = (photo, "--mask", path, "--checkpoint", self.checkpoint)
        return self.paint(path, *argv, out="a.png")

    def clip(self, path: Path) -> bool:
        return self.paint(path, path, "--checkpoint", self.checkpoint, out="a.mp4")

    def label(self, path: Path) -> bool:
        return self.raises(lambda: read_labels(path), PictureError, path)

    def model(self, path: Path) -> bool:
        return self.raises(lambda: load_checkpoint(path), CheckpointError, path)

    def settings(self, path: Path) -> bool:
        try:
            code = train.main(["--settings", str(path), "--dry-run"])
        except SystemExit as end:
            code = end.code
        lines = self.capsys.readouterr().err.strip().splitlines()
        assert code in (0, 2), code
        assert code == 0 or (len(lines) == 1 and path.name in lines[0]), lines
        return code == 0

    def state(self, path: Path) -> bool:
        def resume() -> None:
            restore_network(path.parent)
            tiny_state().load(path.parent)

        return self.raises(resume, ValueError, path)

    def raises(self, call: Callable[[], object], kind: type[Exception], path: Path) -> bool:
        try:
            call()
        except kind as error:
            lines = str(error).splitlines()
            assert len(lines) == 1 and path.name in lines[0], error
            return False
        return True


def test_mutated_files(
    seeds, run_state, network, checkpoint, tmp_path: Path, monkeypatch, capsys
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(paint_command, "open_painter", lambda *_: (network, "fp32"))
    (tmp_path / "whole.png").write_bytes(seeds["a.png"])
    fuzz, rng = Fuzz(tmp_path, network, checkpoint, capsys), random.Random(SEED)
    names = [name for name in seeds if not name.endswith(".mp4")]
    model = checkpoint.read_bytes()
    style = str(ROOT / "assets" / "styles" / "irises.jpg")
    settings = asdict(TrainConfig(foreground_style=style, background_style=style))
    label = tmp_path / "l.png"
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(label)
    others = [*seeds.values(), model[:4096], label.read_bytes()]
    kinds = ["picture"] * 7 + ["mask"] * 2 + ["clip", "label", "model", "settings", "state"]
    counts: Counter[str] = Counter()
    slowest = (0.0, "")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(INPUTS):
        kind = kinds[number % len(kinds)]
        name = rng.choice(names)
        if kind == "clip":
            name, data = "clip.mp4", mutate(seeds["a.mp4"], rng, others)
        elif kind == "label":
            name, data = "label.png", mutate(label.read_bytes(), rng, others)
        elif kind == "model":
            name, data = "m.safetensors", mutate_header(model, "duostyle", rng, others)
        elif kind == "state":
            name, data = STATE_FILE, mutate_header(run_state, "progress", rng, others)
        elif kind == "settings":
            text = json.dumps(mutate_json(settings, rng)).encode()
            name, data = "s.json", text if rng.random() < 0.7 else mutate(text, rng, others)
        else:
            data = mutate(seeds[name], rng, others)
            # A suffix is no promise.
            name = f"in-{name}" if rng.random() < 0.8 else f"in.{rng.choice(PICTURES)}"
        path = tmp_path / name
        path.write_bytes(data)
        began = time.monotonic()
        try:
            well = getattr(fuzz, kind)(path)
        except BaseException:
            kept = os.environ.get("DUOSTYLE_FUZZ_KEEP")
            if kept:
                (Path(kept) / f"{SEED}-{number}-{name}").write_bytes(data)
            raise
        finally:
            path.unlink()
        slowest = max(slowest, (time.monotonic() - began, f"{number} {kind} {name}"))
        counts[f"{kind} {'taken' if well else 'refused'}"] += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    text = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    with capsys.disabled():
        if "DUOSTYLE_FUZZ" in os.environ:
            print(f"\n{INPUTS} inputs of seed {SEED}: {text}", file=sys.stderr)
            print(f"slowest {slowest[0]:.1f} s ({slowest[1]}), memory grown by {grown >> 20} MB")
    assert slowest[0] < MOST_SECONDS, slowest
    assert grown < MOST_MEMORY
    assert not list(tmp_path.rglob("*.part"))
