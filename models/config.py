"""Sizes of a network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

MARGIN = 24
STRIDES = (16, 32)  # of the mask branch
LIMITS = {  # least and greatest values; the sizes that ship lie far inside
    "width": (1, 128),
    "branch_blocks": (0, 32),
    "styles": (2, 4096),
    "mask_size": (33, 2049),
    "mask_stride": (min(STRIDES), max(STRIDES)),
    "mask_gain": (1e-3, 1e3),
    "mask_bias": (-1e3, 1e3),
    "margin": (0, 256),
}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network: all that is needed to build it again."""

    width: int = 12  # channels at full resolution; twice at half, four times at quarter
    branch_blocks: int = 5  # residual blocks of each style branch
    styles: int = 2  # rows of the norm parameters; a foundation has one for every painting
    mask_size: int = 513  # side of the square as large as what the mask branch sees, pixels
    mask_stride: int = 32  # of its coarsest features, 32 or 16, pixels of what it sees
    # The region is sigmoid(gain * (logit + bias)): nearly as decided as DeepLab's, and rather a
    # little too much than too little of a person.
    mask_gain: float = 3.0
    mask_bias: float = 1.0
    margin: int = MARGIN  # reflected around the picture, seen and cut off, pixels, 4k

    @classmethod
    def read(cls, values: object) -> Self:
        """The sizes that a file holds as JSON.

        Raises ValueError for a name, a type or a value that no network can be built with.
        """
        if not isinstance(values, Mapping):
            raise ValueError("the network's sizes are missing")
        known = {f.name: f.type for f in fields(cls)}
        unknown = sorted(map(str, values.keys() - known.keys()))
        if unknown:
            raise ValueError(f"the network's {unknown[0]} is unknown")
        return cls(**{name: _number(name, known[name], value) for name, value in values.items()})


def _number(name: str, kind: type, value: Any) -> int | float:
    """A value of this kind and range. Raises ValueError for another."""
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


SIZES = {
    "small": NetworkConfig(width=8, mask_size=465, mask_stride=16),
    "base": NetworkConfig(mask_stride=16),
}
