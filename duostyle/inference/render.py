"""The core of inference: alphas, options, and content tensors to stylized tensors.

Pictures, videos and cameras share it.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor

from duostyle.inference.temporal_filter import STEADY, TemporalFilter, check_steady
from duostyle.io.pixels import keep_chroma, long_side, resize, short_side
from duostyle.models import PRECISIONS, SMALLEST_SIDE, Inspection, check_alpha

EncodedT = TypeVar("EncodedT")


@dataclass(frozen=True)
class AlphaCurve:
    """Alpha over time: linear between keyframes, constant before the first and after the last.

    Raises ValueError if the times do not increase from 0 or more, or if an alpha is not in [0, 1].
    """

    times: tuple[float, ...]  # seconds, or fractions of the video's length
    alphas: tuple[float, ...]  # in [0, 1]
    relative: bool = False  # times are fractions of the length

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.alphas):
            raise ValueError("a curve needs one alpha for each time, and at least one")
        if list(self.times) != sorted(set(self.times)) or self.times[0] < 0:
            raise ValueError("the times of a curve must increase, from 0 or more")
        for alpha in self.alphas:
            check_alpha(alpha)

    def at(self, seconds: float, length: float) -> float:
        """Alpha at a time in a video of `length` seconds, which may be infinite (unknown)."""
        time = min(seconds / max(length, 1e-9), 1.0) if self.relative else seconds
        after = bisect_right(self.times, time)
        if after in (0, len(self.times)):
            return self.alphas[min(after, len(self.times) - 1)]
        begin, end = self.times[after - 1], self.times[after]
        share = (time - begin) / (end - begin)
        return self.alphas[after - 1] + share * (self.alphas[after] - self.alphas[after - 1])

    def __format__(self, _: str) -> str:
        """Format for a file name, for example `0to1`."""
        return f"{self.alphas[0]:g}to{self.alphas[-1]:g}"


Alpha = float | AlphaCurve


def alpha_at(alpha: Alpha, seconds: float, length: float) -> float:
    """The value of `alpha` at a time; see `AlphaCurve.at`."""
    return alpha.at(seconds, length) if isinstance(alpha, AlphaCurve) else alpha


def parse_alphas(text: str) -> list[Alpha]:
    """Parse `0.5`, `0,0.5,1` (one result each) or `0:1` (from start to end of a video).

    Raises ValueError for other text, and for values outside of [0, 1].
    """
    return [_parse_alpha(part.strip()) for part in text.split(",")]


def _parse_alpha(text: str) -> Alpha:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        raise ValueError(f"'{text}' is not a number, A:B, or a list of them") from None
    for number in numbers:
        check_alpha(number)
    if len(numbers) > 2:
        raise ValueError(f"'{text}': A:B goes from A to B; --alpha-keys takes more")
    return numbers[0] if len(numbers) == 1 else AlphaCurve((0.0, 1.0), tuple(numbers), True)


def parse_keys(text: str) -> AlphaCurve:
    """Parse keyframes such as `0s=0, 2s=1, 5s=0.3`. Raises ValueError for other text."""
    times, alphas = [], []
    for part in text.split(","):
        time, _, alpha = part.strip().partition("=")
        try:
            times.append(float(time.strip().removesuffix("s")))
            alphas.append(float(alpha))
        except ValueError:
            raise ValueError(f"'{part.strip()}' is not SECONDS=ALPHA, such as 2s=0.5") from None
    return AlphaCurve(tuple(times), tuple(alphas))


@dataclass(frozen=True)
class StylizeOptions:
    """How content is stylized. Raises ValueError for a value that is not allowed.

    Pictures ignore `steady` and `batch`; cameras ignore `batch`.
    """

    swap: bool = False  # exchange the two styles
    keep_colors: bool = False  # luminance of the stylized picture, chroma of the content
    # Stylize with the long side at this many pixels, then enlarge: the strokes become larger.
    size: int | None = None
    precision: str = "fp32"  # fp32, bf16 or fp16
    steady: float = STEADY  # strength of the temporal filter, 0 (off) to below 1
    batch: int | None = None  # frames per forward pass; None: what is fastest

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is 1 pixel or more, not {self.size}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch is 1 frame or more, not {self.batch}")
        check_steady(self.steady)


class StylizeKeywords(TypedDict, total=False):
    """The fields of StylizeOptions as keyword arguments."""

    swap: bool
    keep_colors: bool
    size: int | None
    precision: str
    steady: float
    batch: int | None


DEFAULTS = StylizeOptions()


class Painter(Protocol[EncodedT]):
    """A `StyleNetwork`, or a runtime that executes its graph; arguments as for `StyleNetwork`.

    `encode` a picture once, then `decode` for each alpha.
    """

    default_batch_size: int  # frames of a video in one forward pass

    @property
    def device(self) -> torch.device: ...

    def encode(self, content: Tensor, mask: Tensor | None = None) -> EncodedT: ...

    def decode(self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False) -> Tensor: ...

    def decode_all(
        self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False
    ) -> Inspection: ...


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
