"""The core of inference: alphas, options, and content tensors to stylized tensors.

Pictures, videos and cameras share it.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor

from duostyle.inference.enlarge import enlarge
from duostyle.inference.mask_memory import STEADY_MASK, MaskMemory, check_steady_mask
from duostyle.inference.temporal_filter import STEADY, TemporalFilter, check_steady
from duostyle.io.pixels import keep_chroma, long_side, resize, short_side
from duostyle.models import (
    PRECISIONS,
    SMALLEST_SIDE,
    Inspection,
    apply_strength,
    check_alpha,
    check_strength,
    strength_map,
)

EncodedT = TypeVar("EncodedT")
# Long side in pixels at which a picture is painted; the strokes of a network have a fixed size.
STROKES = {"fine": 1024, "medium": 640, "bold": 384}


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


def parse_strokes(text: str) -> str | int:
    """Parse a name in STROKES or a number of pixels. Raises ValueError for other text."""
    strokes = int(text) if text.isascii() and text.isdecimal() else text
    strokes_size(strokes)
    return strokes


def strokes_size(strokes: str | int) -> int:
    """Return the long side in pixels at which a picture is painted with these strokes.

    `strokes`: a name in STROKES, or the long side itself, 16 or more. Raises ValueError for others.
    """
    long = STROKES.get(strokes) if isinstance(strokes, str) else strokes
    if long is None or long < SMALLEST_SIDE:
        names = ", ".join(STROKES)
        raise ValueError(f"strokes is {names}, or {SMALLEST_SIDE} pixels or more, not {strokes}")
    return long


@dataclass(frozen=True)
class StylizeOptions:
    """How content is stylized. Raises ValueError for a value that is not allowed.

    Pictures ignore `steady`, `steady_mask` and `batch`; cameras ignore `batch`.
    """

    strength: float = 1.0  # how much is painted, 0 (the photograph) to 1
    foreground_strength: float = 1.0  # of the foreground, multiplied by `strength`
    background_strength: float = 1.0  # of the background, multiplied by `strength`
    # Size of the strokes in the picture, whatever the size of the file: fine, medium, bold, or the
    # long side in pixels at which it is painted. Smaller pictures are painted at their own size.
    strokes: str | int | None = None

    swap: bool = False  # exchange the two styles
    keep_colors: bool = False  # luminance of the stylized picture, chroma of the content
    # Stylize with the long side at this many pixels, then enlarge: the strokes become larger.
    size: int | None = None
    precision: str = "fp32"  # fp32, bf16 or fp16
    steady: float = STEADY  # strength of the temporal filter, 0 (off) to below 1
    # Weight of the last frame's learned mask, moved along, 0 (off) to below 1.
    steady_mask: float = STEADY_MASK
    batch: int | None = None  # frames per forward pass; None: what is fastest

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is 1 pixel or more, not {self.size}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch is 1 frame or more, not {self.batch}")
        if self.strokes is not None:
            strokes_size(self.strokes)
            if self.size is not None:
                raise ValueError("strokes and size exclude each other")
        for name in ("strength", "foreground_strength", "background_strength"):
            check_strength(name, getattr(self, name))
        check_steady(self.steady)
        check_steady_mask(self.steady_mask)


class StylizeKeywords(TypedDict, total=False):
    """The fields of StylizeOptions as keyword arguments."""

    strength: float
    foreground_strength: float
    background_strength: float
    strokes: str | int | None
    swap: bool
    keep_colors: bool
    size: int | None
    precision: str
    steady: float
    steady_mask: float
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

    def change_mask(self, encoded: EncodedT, change: Callable[[Tensor], Tensor]) -> EncodedT: ...

    def decode(self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False) -> Tensor: ...

    def decode_with_mask(
        self, encoded: EncodedT, alpha: Tensor | float, swap: bool = False
    ) -> tuple[Tensor, Tensor]: ...

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
        output_size: tuple[int, int] | None = None,
        memory: MaskMemory | None = None,
    ) -> None:
        """Resize and encode `content`.

        `output_size`: height and width of the results; None: the content's; `memory`: of the frames
        before, steadies a learned mask. Other arguments and errors as for `stylize`.
        """
        if content.dim() != 4 or not content.is_floating_point():
            raise ValueError(f"content must be float (B, 3, H, W), not {tuple(content.shape)}")
        self.network, self.options = network, options
        own = (content.shape[-2], content.shape[-1])
        self._painted_size = painted_size(own, options)
        self._output_size = output_size or own
        self._small = resize(content.float(), self._painted_size)
        self.content = resize(content.float(), self._output_size)  # at the size of the results
        self._mask = None if mask is None else resize(mask, self._output_size).to(self.content)
        small = self._small.to(network.device).contiguous(memory_format=torch.channels_last)
        if mask is not None:
            mask = resize(mask, self._painted_size).to(network.device)
        with self._autocast():
            self._encoded = network.encode(small, mask)
            if mask is None and memory is not None and memory.strength:
                self._encoded = network.change_mask(
                    self._encoded, lambda learned: memory(small, learned)
                )

    def stylize(self, alpha: Tensor | float = 0.0, branches: bool = False) -> dict[Output, Tensor]:
        """Stylize at one alpha; arguments, result and errors as for the function `stylize`."""
        results = self.apply_strength(self.paint(alpha, branches))
        return {key: value for key, value in results.items() if branches or key == Output.STYLIZED}

    @torch.inference_mode()
    def paint(self, alpha: Tensor | float = 0.0, branches: bool = False) -> dict[Output, Tensor]:
        """Stylize at full strength; arguments and errors as for the function `stylize`.

        The mask is among the results if `apply_strength` needs it.
        """
        swap = self.options.swap
        with self._autocast():
            if branches:
                found = self.network.decode_all(self._encoded, alpha, swap)._asdict()
            elif self.options.foreground_strength != self.options.background_strength:
                stylized, mask = self.network.decode_with_mask(self._encoded, alpha, swap)
                found = {"stylized": stylized, "mask": mask}
            else:
                found = {"stylized": self.network.decode(self._encoded, alpha, swap)}
        results = {Output(name): self._to_output_size(value) for name, value in found.items()}
        if not results[Output.STYLIZED].isfinite().all():
            raise NotFinite(
                f"the result in {self.options.precision} is not finite; "
                "try --precision fp32 or another checkpoint"
            )
        if self.options.keep_colors:
            for output in results.keys() - {Output.MASK}:
                results[output] = keep_chroma(results[output], self.content)
        return results

    @torch.inference_mode()
    def apply_strength(self, results: dict[Output, Tensor]) -> dict[Output, Tensor]:
        """Return results of `paint` with the stylized picture at the strength of the options."""
        options = self.options
        foreground = options.strength * options.foreground_strength
        background = options.strength * options.background_strength
        if foreground == background == 1:
            return results
        painted = results[Output.STYLIZED]
        if foreground == background:
            strength = torch.full_like(painted[:, :1, :1, :1], foreground)
        else:
            mask = results[Output.MASK] if self._mask is None else self._mask
            strength = strength_map(mask, foreground, background)
        stylized = apply_strength(self.content, painted, strength)
        return {**results, Output.STYLIZED: stylized}

    @property
    def guide(self) -> Tensor:
        """Return the channels that decide how a frame is stylized: RGB and a given mask."""
        return self.content if self._mask is None else torch.cat([self.content, self._mask], dim=1)

    def _to_output_size(self, value: Tensor) -> Tensor:
        """Resize a result `(B, C, H, W)` to the results' size."""
        value, size = value.float().to(self.content.device), self._output_size
        larger = size[0] > value.shape[-2] and size[1] > value.shape[-1]
        if self.options.strokes is not None and larger and value.shape[1] == 3:
            return enlarge(value, self._small, self.content)
        return resize(value, size)

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


def painted_size(size: tuple[int, int], options: StylizeOptions) -> tuple[int, int]:
    """Return the height and width at which a picture of this size is painted.

    The long side is what the options say; the short side is 16 pixels or more.
    """
    long = options.size
    if options.strokes is not None:
        long = min(strokes_size(options.strokes), max(size))
    if long is None:
        return size
    scaled = long_side(size, long)
    return scaled if min(scaled) >= SMALLEST_SIDE else short_side(size, SMALLEST_SIDE)


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
        output_size: tuple[int, int] | None = None,
    ) -> None:
        """`temporal`: calls are consecutive frames: their masks and results are steadied.

        `output_size`: height and width of the results; None: the content's.
        """
        self.network, self.options, self.output_size = network, options, output_size
        self._outputs: dict[Alpha, list[Output]] = {}
        for result in results:
            self._outputs.setdefault(result.alpha, []).append(result.output)
        strength = options.steady if temporal else 0.0
        self._filters = {alpha: TemporalFilter[Output](strength) for alpha in self._outputs}
        self._last_alpha: dict[Alpha, float] = {}
        self.memory = MaskMemory(options.steady_mask if temporal else 0.0)

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
        encoded = EncodedContent(
            self.network, content, mask, self.options, self.output_size, self.memory
        )
        for alpha, outputs in self._outputs.items():
            alphas = [alpha_at(alpha, time, length) for time in times]
            branches = any(output in BRANCHES for output in outputs)
            found = encoded.paint(torch.tensor(alphas), branches)
            # The filter comes first: the photograph is not filtered.
            found = self._filtered(alpha, alphas, encoded, found)
            found = encoded.apply_strength(found)
            for output in outputs:
                yield Result(alpha, output), found[output]

    def _filtered(
        self,
        alpha: Alpha,
        alphas: Sequence[float],
        encoded: EncodedContent,
        found: dict[Output, Tensor],
    ) -> dict[Output, Tensor]:
        """Apply the temporal filter to the frames of a batch in order; resets it if alpha moves."""
        temporal_filter = self._filters[alpha]
        if not temporal_filter.strength:
            return found
        guide = encoded.guide
        frames = []
        for number, value in enumerate(alphas):
            if value != self._last_alpha.get(alpha):
                temporal_filter.reset()
                self._last_alpha[alpha] = value
            one = slice(number, number + 1)
            frames.append(temporal_filter(guide[one], {k: v[one] for k, v in found.items()}))
        return {output: torch.cat([frame[output] for frame in frames]) for output in found}
