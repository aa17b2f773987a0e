"""Compare an exported graph with its network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.export.graph import GraphSignature, open_session
from duostyle.models import StyleNetwork

SIZES = ((16, 16), (67, 41), (144, 200), (255, 257), (360, 640))  # height, width
ALPHAS = (0.0, 0.5, 1.0)
STRENGTHS = ((1.0, 1.0), (0.5, 1.0), (0.0, 0.7))  # of foreground and background, by alpha
# Largest and mean difference allowed. Rounding moves the mask's edges: few pixels change much.
TOLERANCES = {"fp32": (1e-3, 1e-4), "fp16": (1.0, 1 / 255)}


@dataclass(frozen=True)
class Parity:
    """Differences between pixels in [0, 1]."""

    largest: float
    mean: float

    def within(self, precision: str) -> bool:
        """Return whether the differences are within a precision's tolerance."""
        largest, mean = TOLERANCES[precision]
        return self.largest <= largest and self.mean <= mean

    def __str__(self) -> str:
        return f"{self.largest:.1e} at most, {self.mean:.1e} on average"


def compare(
    network: StyleNetwork,
    graph: Path,
    signature: GraphSignature,
    photos: Sequence[Tensor],
    size: tuple[int, int] | None = None,
) -> Parity:
    """Run a graph in ONNX Runtime and its network in PyTorch on the same photographs.

    `photos`: one or more, `(1, 3, H, W)` in [0, 1]; `size`: the graph's fixed height and width, or
    None for five sizes. Batches hold a picture for each of three alphas.
    Raises ValueError if the graph's results have the wrong shape or are not finite.
    """
    session = open_session(graph)
    largest, means = 0.0, []
    for height, width in [size] if size else SIZES:
        pictures = _batch(photos, height, width)
        every = {
            "content": pictures,
            "alpha": torch.tensor(ALPHAS),
            "mask": (pictures[:, :1] > 0.5).float(),
            "strength": torch.tensor(STRENGTHS),
        }
        given = dict(zip(signature.inputs(), signature.pick(every), strict=True))
        arrays = {name: value.numpy() for name, value in given.items()}
        found = session.run(None, arrays)
        with torch.inference_mode():
            expected = signature.run(network, **given)
        for array, tensor in zip(found, expected, strict=True):
            apart = np.abs(array - tensor.numpy())
            if apart.shape != tuple(tensor.shape) or not np.isfinite(apart).all():
                raise ValueError(f"{graph}: gives {array.shape} for {tuple(tensor.shape)}")
            largest = max(largest, float(apart.max()))
            means.append(float(apart.mean()))
    return Parity(largest, sum(means) / len(means))


def _batch(photos: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Return a picture for every alpha, `(3, 3, height, width)`."""
    size = (height, width)
    resized = [F.interpolate(photo, size, mode="bilinear", antialias=True) for photo in photos]
    return torch.cat((resized * len(ALPHAS))[: len(ALPHAS)])
