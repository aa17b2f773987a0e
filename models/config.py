"""Sizes of a network."""

from dataclasses import dataclass

MARGIN = 24


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


SIZES = {
    "small": NetworkConfig(width=8, mask_size=465, mask_stride=16),
    "base": NetworkConfig(mask_stride=16),
}
