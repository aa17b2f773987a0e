"""One process's learner: network, objective, optimizers, and the step that joins them."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from duostyle.data.masks import foreground_classes
from duostyle.data.photos import Sample
from duostyle.losses import Painting
from duostyle.models import (
    PRECISIONS,
    StyleNetwork,
    git_revision,
    pick_training_precision,
    save_checkpoint,
)
from duostyle.training import build
from duostyle.training.motion import draw_motions, move, with_moved
from duostyle.training.settings import TrainConfig
from duostyle.training.state import Average, load_state, restore_network, save_state


class Diverged(Exception):
    """A term that is not finite any more."""


class TrainingPass(nn.Module):
    """One pass of everything that learns; DDP wraps it."""

    def __init__(self, network: StyleNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.surroundings = network, config.surroundings
        # The mask branch is left alone: on a CPU, compiled it is slower (measured: 159 to 107 ms).
        self.paint = torch.compile(network.forward) if config.compile else network.forward

    def forward(
        self,
        crop: Tensor | None,
        alpha: Tensor,
        mask: Tensor,
        photo: Tensor | None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The painter on crops under the teacher's mask, the mask branch on the photographs.

        `crop`, `photo`: None where the one or the other does not learn.
        """
        stylized = logits = None
        if crop is not None:
            stylized = self.paint(crop, alpha, mask, context=self.surroundings, styles=rows)
        if photo is not None:
            logits = self.network.mask_logits(photo)
        return stylized, logits


class Learner:
    """Everything that one process trains with."""

    def __init__(
        self, config: TrainConfig, device: str, world: int = 1, resume: bool = False
    ) -> None:
        """`device`: cpu, cuda:N or mps; `world`: processes that share every batch; `resume`: go
        on from the run's last checkpoint, exactly.

        Raises ValueError where there is none to resume, OSError where weights cannot be had.
        """
        self.config, self.world = config, world
        self.device, self.kind = device, device.partition(":")[0]
        start = build.build_network(config) if config.start_share or not resume else None
        self.start: dict[str, Tensor] = {}
        if start and config.start_share:
            self.start = {k: v.to(device, copy=True) for k, v in start.state_dict().items()}
        if resume:
            network, self.earlier = restore_network(Path(config.output))
        else:
            network, self.earlier = start, build.provenance(config)
        self.network = build.set_up(network, config).to(device)
        paintings = len(build.style_files(config))
        if self.network.config.styles != paintings:
            raise ValueError(
                f"{config.output}: this run has {self.network.config.styles} paintings, "
                f"{paintings} are named; name the same"
            )
        self.teacher = build.build_teacher(config, device)
        self.objective = build.build_objective(config, device)
        self.average = Average(self.network, config.ema)
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        norms = build.norm_parameters(self.network)
        self.kernels = [p for p in self.trained if p not in norms]
        self.optimizers = build.build_optimizers(self.network, config)
        self.precision = pick_training_precision(config.precision, self.kind)
        scaled = self.precision == "fp16" and self.kind == "cuda"
        self.scaler = torch.amp.GradScaler(self.kind, enabled=scaled)
        self.learn = self._wrap(TrainingPass(self.network, config).train())
        self.step, self.pictures = 0, 0
        self.skipped: dict[str, None] = {}  # ordered: why photographs were passed over
        if resume:
            self._load()

    def _load(self) -> None:
        self.step, self.pictures = load_state(
            Path(self.config.output), self.network, self.average, self.optimizers, self.scaler
        )
        # --foreground may have changed since.
        head = self.network.mask_branch.head
        head.choose(foreground_classes(self.config.foreground))
        self.average.weights["mask_branch.head.wanted"].copy_(head.wanted)

    def one_step(self, batches: Iterator[Sample]) -> dict[str, Tensor]:
        """One optimizer step; returns the weighted terms, averaged over its batches.

        Raises Diverged, before any weight has changed, where a term is not finite.
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate(self.step + 1) * group.get("share", 1.0)
        sums: dict[str, Tensor] = {}
        for number in range(1, self.config.accumulate + 1):
            joint = number == self.config.accumulate or self.world == 1
            with nullcontext() if joint else self.learn.no_sync():
                terms = self._terms(next(batches))
                self._check(terms)
                loss = torch.stack(list(terms.values())).sum() / self.config.accumulate
                self.scaler.scale(loss).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / self.config.accumulate
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        if self.step < self.config.norm_steps:
            for parameter in self.kernels:
                parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.trained, self.config.gradient_clip)
        for optimizer in self.optimizers:
            # An overflow in one optimizer's gradients makes the norm, and so the other's, useless.
            if not self.scaler.is_enabled() or norm.isfinite():
                self.scaler.step(optimizer)
            optimizer.zero_grad()
        self.scaler.update()
        self.step, self.pictures = self.step + 1, self.pictures + self.config.pictures_per_step
        self.average.update(self.network, self.step)
        return sums

    def _terms(self, batch: Sample) -> dict[str, Tensor]:
        for note in filter(None, batch.skipped):
            self.skipped |= dict.fromkeys(note.splitlines())
        photo, photo_mask, known, crop, mask, alpha, seeds = (
            x.to(self.device, non_blocking=True) for x in batch[:-1]
        )
        precision = PRECISIONS[self.precision]
        if self.step < self.config.mask_steps:
            with torch.autocast(self.kind, precision, enabled=precision != torch.float32):
                _, logits = self.learn(None, alpha, mask, photo)
            return self.objective.mask_term(logits, photo_mask, known)
        rim, every = self.config.surroundings, self.config.mask_every
        photo, photo_mask, known = photo[::every], photo_mask[::every], known[::every]
        if not self.objective.weights.mask_weight:
            photo = None
        motion, imitates = None, self.teacher and self._imitates()
        if self.objective.weights.steady_weight and not imitates:
            motion = draw_motions(seeds.tolist(), crop.shape[-1], self.device)
        crops, masks, alphas = with_moved(crop, mask, alpha, motion)
        rows = self._rows(seeds)
        both = rows if rows is None or motion is None else torch.cat([rows, rows])
        with torch.autocast(self.kind, precision, enabled=precision != torch.float32):
            painted, logits = self.learn(crops, alphas, masks, photo, both)
            if imitates:
                taught = self._taught(crops, alphas, masks, rows)
                terms = self.objective.imitation_term(painted, taught)
                return terms | self._mask_term(logits, photo_mask, known)
            stylized, again = painted[: len(crop)], painted[len(crop) :]
            inside = slice(rim, crop.shape[-1] - rim)
            content, mask = (v[..., inside, inside] for v in (crop, mask))
            terms = self.objective(content, Painting(stylized, alpha, mask, rows=rows))
        if motion:
            moved, seen = move(stylized, motion.displacements[..., inside, inside])
            terms |= self.objective.steady_term(again, moved, seen)
        return terms | self._mask_term(logits, photo_mask, known)

    def _rows(self, seeds: Tensor) -> Tensor | None:
        """Draw two styles for each picture of a foundation's batch, `(B, 2)`; None in a pair."""
        styles = self.network.config.styles
        if styles == 2:
            return None
        drawn = [
            torch.randperm(styles, generator=torch.Generator().manual_seed(seed))[:2]
            for seed in seeds.tolist()
        ]
        return torch.stack(drawn).to(self.device)

    def _mask_term(self, logits: Tensor | None, target: Tensor, known: Tensor) -> dict[str, Tensor]:
        return {} if logits is None else self.objective.mask_term(logits, target, known)

    def _imitates(self) -> bool:
        """Whether this step learns from the teacher alone."""
        return self.step < self.config.teacher_share * self.config.steps

    @torch.no_grad()
    def _taught(self, crops: Tensor, alphas: Tensor, masks: Tensor, rows: Tensor | None) -> Tensor:
        """What the teacher paints."""
        rim = self.config.surroundings
        return self.teacher(crops, alphas, masks, context=rim, styles=rows)

    def _check(self, terms: dict[str, Tensor]) -> None:
        bad = [name for name, value in terms.items() if not value.isfinite()]
        if bad:
            raise Diverged(f"step {self.step + 1}: {', '.join(bad)} not finite")

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine."""
        c = self.config
        if step < c.warmup:
            return c.learning_rate * step / c.warmup
        progress = (step - c.warmup) / max(c.steps - c.warmup, 1)
        falling = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return c.learning_rate * (c.final_rate + (1 - c.final_rate) * falling)

    def _wrap(self, learn: nn.Module) -> nn.Module:
        if self.world == 1:
            return learn
        ids = [torch.device(self.device)] if self.kind == "cuda" else None
        alone = self.config.mask_steps > 0  # the painter takes no part at first
        return DistributedDataParallel(learn, device_ids=ids, find_unused_parameters=alone)

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, interpolated with the start's by `start_share`.

        Fine-tuned weights and those that they started from, interpolated, keep the merits of both
        (WiSE-FT, Wortsman et al. 2022).
        """
        share = self.config.start_share
        kept = {k: v for k, v in self.start.items() if v.is_floating_point()}
        average = self.average.weights
        return average | {k: torch.lerp(average[k], v, share) for k, v in kept.items()}

    def averaged(self) -> StyleNetwork:
        """Return a network of its own with the weights that are saved, ready to run."""
        network = StyleNetwork(self.network.config)
        network.load_state_dict(self.weights())
        return network.eval().requires_grad_(False).to(self.device)

    def save(self) -> None:
        """The averaged network as a checkpoint, and the state to go on from."""
        folder = Path(self.config.output)
        header = {
            "styles": build.describe_styles(self.config),
            "training": asdict(self.config),
            "objective": asdict(self.objective.weights),
            "seed": self.config.seed,
            "git_revision": git_revision(),
            "pictures_seen": self.pictures,
            "earlier": self.earlier,
        }
        save_checkpoint(folder / "model.safetensors", self.network, header, self.weights())
        kept = (self.network, self.average, self.optimizers, self.scaler)
        save_state(folder, self.step, self.pictures, *kept, self.earlier)
