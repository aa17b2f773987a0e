"""The core of inference: content tensors to stylized tensors, for pictures, videos and cameras."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Unpack

import torch
from torch import Tensor

from duostyle.inference.alpha import Alpha, alpha_at
from duostyle.inference.options import DEFAULTS, StylizeKeywords, StylizeOptions
from duostyle.inference.temporal_filter import TemporalFilter
from duostyle.io.pixels import keep_chroma, long_side, resize, short_side
from duostyle.models import PRECISIONS, SMALLEST_SIDE, Painter


class NotFinite(ValueError):
    """A network's result holds values that are not finite."""


class Output(StrEnum):
    """What a network returns; the values are the fields of `Inspection`."""

    STYLIZED = "stylized"  # the blended picture
    FOREGROUND = "foreground"  # the whole picture in style 1
    BACKGROUND = "background"  # the whole picture in style 2
    MASK = "mask"  # 1 = foreground


BRANCHES = (Output.FOREGROUND, Output.BACKGROUND, Output.MASK)


@dataclass(frozen=True)
class Result:
    """One result of a picture, a video or a camera: an output at an alpha."""

    alpha: Alpha
    output: Output = Output.STYLIZED


@torch.inference_mode()
def stylize(
    network: Painter,
    content: Tensor,
    alpha: Tensor | float = 0.0,
    mask: Tensor | None = None,
    *,
    branches: bool = False,
    options: StylizeOptions = DEFAULTS,
    **keywords: Unpack[StylizeKeywords],
) -> dict[Output, Tensor]:
    """Stylize a batch of tensors.

    `content`: `(B, 3, H, W)` RGB in [0, 1]; `alpha`: a number or `(B,)` in [0, 1]; `mask`:
    `(B, 1, H, W)` in [0, 1], 1 = foreground, instead of the learned mask; `branches`: return
    `foreground`, `background` and `mask` beside `stylized`; `options`, or its fields as keywords:
    see `StylizeOptions`.
    Returns `(B, C, H, W)` in [0, 1] by output (a string such as "stylized" is a key too).
    Raises ValueError for a wrong shape, alpha or option, NotFinite if the result is not finite.
    """
    options = replace(options, **keywords)
    if content.dim() != 4 or not content.is_floating_point():
        raise ValueError(f"content must be float (B, 3, H, W), not {tuple(content.shape)}")
    device, content = network.device, content.float()
    full_size = (content.shape[-2], content.shape[-1])
    size = _network_size(full_size, options.size)
    resized = resize(content, size).to(device).contiguous(memory_format=torch.channels_last)
    if mask is not None:
        mask = resize(mask, size).to(device)
    dtype = PRECISIONS[options.precision]
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        if branches:
            found = network.inspect(resized, alpha, mask, options.swap)._asdict()
        else:
            found = {"stylized": network(resized, alpha, mask, options.swap)}
    results = {
        Output(name): resize(value.float(), full_size).to(content.device)
        for name, value in found.items()
    }
    if not results[Output.STYLIZED].isfinite().all():
        raise NotFinite(
            f"the result in {options.precision} is not finite; "
            "try --precision fp32 or another checkpoint"
        )
    if options.keep_colors:
        for output in results.keys() - {Output.MASK}:
            results[output] = keep_chroma(results[output], content)
    return results


def _network_size(full_size: tuple[int, int], long: int | None) -> tuple[int, int]:
    """The size at which the network runs: the long side at `long`, the short one large enough."""
    if long is None:
        return full_size
    size = long_side(full_size, long)
    return size if min(size) >= SMALLEST_SIDE else short_side(full_size, SMALLEST_SIDE)


class Renderer:
    """Stylizes pictures, or the frames of a video or a camera, into one or several results.

    This is the one loop behind `stylize_image`, `stylize_video` and the camera.
    """

    def __init__(
        self,
        network: Painter,
        results: Iterable[Result],
        options: StylizeOptions = DEFAULTS,
        temporal: bool = False,
    ) -> None:
        """`temporal`: calls are consecutive frames, to which the temporal filter is applied."""
        self.network, self.options = network, options
        self._outputs: dict[Alpha, list[Output]] = {}
        for result in results:
            self._outputs.setdefault(result.alpha, []).append(result.output)
        strength = options.steady if temporal else 0.0
        self._filters = {alpha: TemporalFilter[Output](strength) for alpha in self._outputs}
        self._last_alpha: dict[Alpha, float] = {}

    def __call__(
        self,
        content: Tensor,
        mask: Tensor | None = None,
        times: Sequence[float] | None = None,
        length: float = math.inf,
    ) -> Iterator[tuple[Result, Tensor]]:
        """Yield every result of a batch `(B, 3, H, W)`; results of one alpha share a forward pass.

        `mask`: as of `stylize`; `times`: seconds of each frame, in a video of `length` seconds, for
        alphas that are curves. Raises as `stylize` does.
        """
        times = times or [0.0] * content.shape[0]
        for alpha, outputs in self._outputs.items():
            alphas = [alpha_at(alpha, time, length) for time in times]
            found = stylize(
                self.network,
                content,
                torch.tensor(alphas),
                mask,
                branches=any(output in BRANCHES for output in outputs),
                options=self.options,
            )
            found = self._filtered(alpha, alphas, content, mask, found)
            for output in outputs:
                yield Result(alpha, output), found[output]

    def _filtered(
        self,
        alpha: Alpha,
        alphas: Sequence[float],
        content: Tensor,
        mask: Tensor | None,
        found: dict[Output, Tensor],
    ) -> dict[Output, Tensor]:
        """Apply the temporal filter to the frames of a batch in order; resets it if alpha moves."""
        temporal_filter = self._filters[alpha]
        if not temporal_filter.strength:
            return found
        guide = content if mask is None else torch.cat([content, mask.to(content)], dim=1)
        frames = []
        for number, value in enumerate(alphas):
            if value != self._last_alpha.get(alpha):
                temporal_filter.reset()
                self._last_alpha[alpha] = value
            one = slice(number, number + 1)
            frames.append(temporal_filter(guide[one], {k: v[one] for k, v in found.items()}))
        return {output: torch.cat([frame[output] for frame in frames]) for output in found}
