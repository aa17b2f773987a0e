"""DeepLab-V3's head on the mask branch's coarsest features: what the teacher itself would say."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 21  # PASCAL VOC's; 0 = background
UNWANTED = 1e4  # taken off the logits of classes that are not asked for

# Our names and those of the ONNX file that holds a trained head.
NAMES = {
    "pooling": "image_pooling",
    "point": "aspp0",
    "projection": "concat_projection",
    "classes": "logits",
}


class DeepLabHead(nn.Module):
    """Image pooling and a 1x1 convolution, joined and classified (Chen et al. 2017, light form).

    `wanted`: which classes are foreground, `(21,)` of 0 and 1; `taken`: 1 where the weights are a
    trained DeepLab's.
    """

    wanted: Tensor
    taken: Tensor

    def __init__(self, in_channels: int, channels: int = 256) -> None:
        super().__init__()
        self.pooling = nn.Conv2d(in_channels, channels, 1)
        self.point = nn.Conv2d(in_channels, channels, 1)
        self.projection = nn.Conv2d(2 * channels, channels, 1)
        self.classes = nn.Conv2d(channels, CLASSES, 1)
        wanted = torch.ones(CLASSES)
        wanted[0] = 0
        self.register_buffer("wanted", wanted)
        self.register_buffer("taken", torch.zeros(()))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, in_channels, h, w)` to `(B, channels + 21, h, w)` and foreground logits, float32.

        The first holds the projection and the probability of every class.
        """
        pooled = F.relu(self.pooling(features.mean(dim=(2, 3), keepdim=True)))
        point = F.relu(self.point(features))
        joined = torch.cat([pooled.expand_as(point), point], dim=1)
        x = F.relu(self.projection(joined))
        logits = self.classes(x).float()
        foreign = (UNWANTED * (1 - self.wanted)).view(1, -1, 1, 1)
        own = (UNWANTED * self.wanted).view(1, -1, 1, 1)
        foreground = torch.logsumexp(logits - foreign, dim=1, keepdim=True)
        background = torch.logsumexp(logits - own, dim=1, keepdim=True)
        known = torch.cat([x, logits.softmax(dim=1).to(x.dtype)], dim=1)
        return known, foreground - background

    def choose(self, classes: Sequence[int]) -> None:
        """Take these classes, 1 to 20, for foreground."""
        self.wanted.zero_()
        self.wanted[list(classes)] = 1

    def load_trained(self, path: Path) -> None:
        """Take up the head of an ONNX DeepLab-V3 on MobileNetV2 (names as in `NAMES`).

        Raises FileNotFoundError, or ValueError where the file holds no such head.
        """
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper

        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such segmentation model")
        try:
            stored = {part.name: part for part in onnx.load(path).graph.initializer}
        except DecodeError as error:
            raise ValueError(f"{path}: not an ONNX file ({error})") from error
        state = {"wanted": self.wanted, "taken": torch.ones(())}
        for ours, theirs in NAMES.items():
            for kind in ("weight", "bias"):
                if f"{theirs}.{kind}" not in stored:
                    raise ValueError(f"{path}: holds no DeepLab head ({theirs}.{kind} is missing)")
                array = numpy_helper.to_array(stored[f"{theirs}.{kind}"])
                state[f"{ours}.{kind}"] = torch.tensor(array)
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"{path}: its head does not fit ({reason})") from error
