"""Reports of a run: TensorBoard curves and pictures, and a progress bar or plain lines."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid, save_image
from tqdm import tqdm

from duostyle.models import StyleNetwork
from duostyle.training.settings import TrainConfig

ALPHAS = (0.0, 0.5, 1.0)
TIME_BAR = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # of a run of --minutes


class Monitor:
    """Reports a run to its folder and to the terminal."""

    def __init__(self, folder: Path, config: TrainConfig, done: int, seconds: float = 0.0) -> None:
        """Open the reports; `done`: steps of the run so far; `seconds`: its training time."""
        self.folder, self.config, self.steps = folder, config, config.steps
        self.writer = SummaryWriter(str(folder), purge_step=done + 1)
        self.seconds, shown = seconds, sys.stderr.isatty()
        if config.minutes is None:
            self.bar = tqdm(total=config.steps, initial=done, unit="step", disable=not shown)
        else:
            total = round(60 * config.minutes, 1)
            self.bar = tqdm(
                total=total, initial=seconds, bar_format=TIME_BAR, smoothing=0, disable=not shown
            )
        self.sums: dict[str, float] = {}
        self.count, self.pictures, self.since = 0, 0, time.monotonic()
        self.started, self.first = self.since, done

    def step(
        self,
        step: int,
        terms: Mapping[str, Tensor],
        learning_rate: float,
        seconds: float = 0.0,
        last: bool = False,
    ) -> None:
        """Record one step: its weighted terms and learning rate.

        `seconds`: training time of the run; `last`: whether it is the run's last step.
        """
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.item()
        self.count, self.pictures = self.count + 1, self.pictures + self.config.pictures_per_step
        passed = seconds - self.seconds
        self.bar.update(1 if self.config.minutes is None else min(passed, self._left()))
        self.seconds = seconds
        if step % self.config.log_steps == 0 or last:
            self._report(step, learning_rate)

    def _left(self) -> float:
        """Return the seconds of --minutes that are left."""
        return max(60 * (self.config.minutes or 0) - self.seconds, 0)

    def _report(self, step: int, learning_rate: float) -> None:
        now = time.monotonic()
        means = {name: value / self.count for name, value in self.sums.items()}
        speed = self.pictures / (now - self.since)
        for name, value in means.items():
            self.writer.add_scalar(f"terms/{name}", value, step)
        self.writer.add_scalar("terms/total", sum(means.values()), step)
        self.writer.add_scalar("run/learning_rate", learning_rate, step)
        self.writer.add_scalar("run/pictures_per_second", speed, step)
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        if self.bar.disable:
            if self.config.minutes is None:
                left = (now - self.started) / (step - self.first) * (self.steps - step) / 60
                done = f"step {step}/{self.steps}"
            else:
                left = self._left() / 60
                done = f"step {step}, {self.seconds / 60:.1f}/{self.config.minutes:g} min"
            line = f"{done} {text} | {speed:.1f} pictures/s, {left:.0f} min left"
            print(line, file=sys.stderr, flush=True)
        else:
            self.bar.set_postfix_str(f"{text} {speed:.1f} pictures/s")
        self.sums, self.count, self.pictures, self.since = {}, 0, 0, now

    def wants_picture(self, step: int, last: bool = False) -> bool:
        """Return whether a picture is due: after the first, every Nth and the last step."""
        return step == 1 or last or step % self.config.picture_steps == 0

    def picture(self, step: int, network: StyleNetwork, photos: Tensor) -> None:
        """Write the contact sheet of the validation photographs `(B, 3, H, W)`."""
        grid = contact_grid(network, photos)
        self.writer.add_image("validation", grid, step)
        folder = self.folder / "pictures"
        folder.mkdir(exist_ok=True)
        save_image(grid, folder / f"{step:06d}.png")

    def close(self) -> None:
        """Flush and close the reports."""
        self.bar.close()
        self.writer.close()


@torch.no_grad()
def contact_grid(network: StyleNetwork, photos: Tensor) -> Tensor:
    """Return a contact sheet `(3, h, w)` of photographs `(B, 3, H, W)`, one row for each.

    Columns: photograph, mask, all in style 1, all in style 2, blended at alpha 0, 0.5 and 1.
    """
    cells = []
    for photo in photos.split(1):
        encoded = network.encode(photo)
        view = network.decode_all(encoded, 0.0)
        blended = [network.decode(encoded, alpha) for alpha in ALPHAS]
        mask = view.mask.expand(-1, 3, -1, -1)
        cells += [photo, mask, view.foreground, view.background, *blended]
    return make_grid(torch.cat(cells).cpu(), nrow=4 + len(ALPHAS), padding=2)
