"""Network sizes: configuration, limits, and the two sizes that ship."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

MARGIN = 8
STRIDES = (16, 32)  # of the mask branch's coarsest features, pixels
LIMITS = {  # smallest and largest values accepted
    "channels": (1, 256),
    "width": (1, 128),
    "edge_width": (1, 128),
    "branch_blocks": (0, 32),
    "styles": (2, 4096),
    "mask_size": (33, 2049),
    "mask_stride": (min(STRIDES), max(STRIDES)),
    "mask_gain": (1e-3, 1e3),
    "mask_bias": (-1e3, 1e3),
    "margin": (0, 256),
    "scale": (0.5, 1.0),
    "radius": (0, 16),
}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network: everything needed to build it."""

    channels: int = 32  # of the first convolution and of both style branches
    branch_blocks: int = 6  # residual blocks of each style branch
    width: int = 4  # channels of the decoder at full resolution; twice at half
    styles: int = 2  # norm parameters: 2 in a pair, one for each painting in a foundation
    mask_size: int = 513  # square root of the mask branch's input area, pixels
    mask_stride: int = 32  # of its coarsest features, 16 or 32 of its input's pixels
    edge_width: int = 12  # channels of its edges at half resolution; four times at quarter
    # The mask is sigmoid(gain * (logit + bias)): nearly binary, as DeepLab's, and slightly larger
    # rather than smaller than a person.
    mask_gain: float = 3.0
    mask_bias: float = 1.0
    margin: int = MARGIN  # reflected around the picture and cropped again, pixels, a multiple of 4
    scale: float = 1.0  # at which pictures are stylized, before the last layer enlarges them
    radius: int = 0  # of the last layer's Kuwahara filter, pixels at that scale; 0: no last layer

    @classmethod
    def read(cls, values: object) -> Self:
        """Build from a checkpoint's JSON. Raises ValueError for unknown or unusable values."""
        if not isinstance(values, Mapping):
            raise ValueError("the network's sizes are missing")
        known = {f.name: type(f.default) for f in fields(cls)}
        unknown = sorted(map(str, values.keys() - known.keys()))
        if unknown:
            raise ValueError(f"the network's {unknown[0]} is unknown")
        numbers: dict[str, Any] = {n: _number(n, known[n], value) for n, value in values.items()}
        config = cls(**numbers)
        if config.scale < 1 and not config.radius:
            raise ValueError("the network's scale below 1 needs a radius of its last layer")
        return config


def _number(name: str, kind: type, value: Any) -> int | float:
    """Return a value of this type within LIMITS. Raises ValueError for any other."""
    right = isinstance(value, (int, float) if kind is float else kind)
    low, high = LIMITS[name]
    # Integers beyond all floats are compared before they are converted.
    if not right or isinstance(value, bool) or not low <= value <= high or not math.isfinite(value):
        raise ValueError(f"the network's {name} must be a number from {low} to {high}")
    if name == "mask_stride" and value not in STRIDES:
        raise ValueError(f"the network's {name} must be {' or '.join(map(str, STRIDES))}")
    if name == "margin" and value % 4:
        raise ValueError(f"the network's {name} must be a multiple of 4")
    return kind(value)


RADIUS = 3  # of the last layer of both sizes
SIZES = {
    "small": NetworkConfig(edge_width=8, mask_size=465, mask_stride=16, scale=0.75, radius=RADIUS),
    "base": NetworkConfig(mask_stride=16, radius=RADIUS),
}
