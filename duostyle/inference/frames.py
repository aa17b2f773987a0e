"""Frames of a video through a network, into one or several results at once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from duostyle.inference.alpha import Alpha, alpha_at
from duostyle.inference.image import stylize
from duostyle.inference.temporal_filter import TemporalFilter
from duostyle.io.arrays import to_arrays, to_tensor
from duostyle.io.paths import BRANCHES
from duostyle.io.video import Frame, VideoReader
from duostyle.models import Painter


class FramePainter:
    """Frames to painted frames, one list for every result."""

    def __init__(
        self,
        network: Painter,
        results: Mapping[str, tuple[Path, Alpha]],
        reader: VideoReader,
        mattes: Iterator[Tensor] | None,
        steady: float,
        options: Mapping[str, object],
    ) -> None:
        self.network, self.results, self.reader = network, results, reader
        self.mattes, self.options = mattes, options
        self.filters = {name: TemporalFilter(steady) for name in results}
        self.device = network.device
        self.busy = 0.0  # seconds

    def __call__(self, frames: Sequence[Frame]) -> list[list[np.ndarray]]:
        if not frames:
            return [[] for _ in self.results]
        began = time.perf_counter()
        content = to_tensor([frame.pixels for frame in frames], self.device)
        mask = None
        if self.mattes:
            mask = torch.cat([next(self.mattes) for _ in frames])
        views: dict[str, Tensor] = {}  # of the first alpha, branch images and mask among them
        painted = []
        for name, (_, alpha) in self.results.items():
            if not (name in BRANCHES and views):
                alphas = self._alphas(frames, alpha)
                branches = not views and any(branch in self.results for branch in BRANCHES)
                options = {"branches": branches, **self.options}
                found = stylize(self.network, content, alphas, mask, **options)
                shown = content if mask is None else torch.cat([content, mask.to(content)], dim=1)
                found = self._steadied(self.filters[name], shown, alphas, found)
                views = views or found
            painted.append(to_arrays(views[name] if name in BRANCHES else found["stylized"]))
        self.busy += time.perf_counter() - began
        return painted

    def _steadied(
        self,
        temporal_filter: TemporalFilter,
        content: Tensor,
        alphas: Tensor,
        found: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Frames in their order, each mixed with the one before where nothing moves."""
        rows = []
        for number, alpha in enumerate(alphas.tolist()):
            one = slice(number, number + 1)
            rows.append(temporal_filter(content[one], alpha, {n: v[one] for n, v in found.items()}))
        return {name: torch.cat([row[name] for row in rows]) for name in found}

    def _alphas(self, frames: Sequence[Frame], alpha: Alpha) -> Tensor:
        reader = self.reader
        length = reader.end - reader.start
        times = [float(frame.pts * reader.time_base) for frame in frames]
        return torch.tensor([alpha_at(alpha, time, length) for time in times])
