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
from duostyle.models import PRECISIONS, SMALLEST_SIDE, Painter, check_alpha


class NotFinite(ValueError):
    """A network's result holds values that are not finite."""


class Output(StrEnum):
    """What a network returns; the values are the fields of `Inspection`."""

    STYLIZED = "stylized"  # the blended picture
    FOREGROUND = "foreground"  # the whole picture in the foreground's style
    BACKGROUND = "background"  # the whole picture in the background's style
    MASK = "mask"  # 1 = foreground


BRANCHES = (Output.FOREGROUND, Output.BACKGROUND, Output.MASK)


@dataclass(frozen=True)
class Result:
    """One result of a picture, a video or a camera: an output at an alpha."""

    alpha: Alpha
    output: Output = Output.STYLIZED


class EncodedContent:
    """Encoder output of a batch of pictures; call `stylize` once per alpha."""

    @torch.inference_mode()
    def __init__(
        self,
        network: Painter,
        content: Tensor,
        mask: Tensor | None = None,
        options: StylizeOptions = DEFAULTS,
    ) -> None:
        """Resize and encode `content`; arguments and errors as for `stylize`."""
        if content.dim() != 4 or not content.is_floating_point():
            raise ValueError(f"content must be float (B, 3, H, W), not {tuple(content.shape)}")
        self.network, self.content, self.options = network, content.float(), options
        self._full_size = (content.shape[-2], content.shape[-1])
        size, device = _network_size(self._full_size, options.size), network.device
        resized = resize(self.content, size).to(device)
        resized = resized.contiguous(memory_format=torch.channels_last)
        if mask is not None:
            mask = resize(mask, size).to(device)
        with self._autocast():
            self._encoded = network.encode(resized, mask)

    @torch.inference_mode()
    def stylize(self, alpha: Tensor | float = 0.0, branches: bool = False) -> dict[Output, Tensor]:
        """Stylize at one alpha; arguments, result and errors as for the function `stylize`."""
        with self._autocast():
            if branches:
                view = self.network.decode_all(self._encoded, alpha, self.options.swap)
                found = view._asdict()
            else:
                found = {"stylized": self.network.decode(self._encoded, alpha, self.options.swap)}
        results = {
            Output(name): resize(value.float(), self._full_size).to(self.content.device)
            for name, value in found.items()
        }
        if not results[Output.STYLIZED].isfinite().all():
            raise NotFinite(
                f"the result in {self.options.precision} is not finite; "
                "try --precision fp32 or another checkpoint"
            )
        if self.options.keep_colors:
            for output in results.keys() - {Output.MASK}:
                results[output] = keep_chroma(results[output], self.content)
        return results

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.options.precision]
        return torch.autocast(self.network.device.type, dtype, enabled=dtype != torch.float32)


def encode(
    network: Painter,
    content: Tensor,
    mask: Tensor | None = None,
    *,
    options: StylizeOptions = DEFAULTS,
    **keywords: Unpack[StylizeKeywords],
) -> EncodedContent:
    """Encode a batch of tensors once for several alphas; arguments and errors as for `stylize`.

    picture = encode(network, content)
    results = [picture.stylize(alpha)["stylized"] for alpha in (0, 0.5, 1)]
    """
    return EncodedContent(network, content, mask, replace(options, **keywords))


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
    check_alpha(alpha, content.shape[0] if content.dim() == 4 else 1)
    encoded = EncodedContent(network, content, mask, replace(options, **keywords))
    return encoded.stylize(alpha, branches)


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
        """Yield every result of a batch `(B, 3, H, W)`; the batch is encoded once for all alphas.

        `mask`: as of `stylize`; `times`: seconds of each frame, in a video of `length` seconds, for
        alphas that are curves. Raises as `stylize` does.
        """
        times = times or [0.0] * content.shape[0]
        encoded = EncodedContent(self.network, content, mask, self.options)
        for alpha, outputs in self._outputs.items():
            alphas = [alpha_at(alpha, time, length) for time in times]
            branches = any(output in BRANCHES for output in outputs)
            found = encoded.stylize(torch.tensor(alphas), branches)
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
