"""The training step: three modes, gradients, optimizers, and the checkpoint."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from duostyle.data.masks import foreground_classes
from duostyle.data.photos import Sample
from duostyle.io.images import PictureError, read_picture
from duostyle.losses import ObjectiveInput
from duostyle.models import (
    PRECISIONS,
    StyleNetwork,
    git_revision,
    pick_training_precision,
    save_checkpoint,
)
from duostyle.training import contrast, initialization, optim
from duostyle.training.new_styles import start_new_styles
from duostyle.training.settings import TrainConfig
from duostyle.training.state import MODEL_FILE, TrainState, restore_network
from duostyle.training.warps import add_warped, draw_warps, warp

Terms = dict[str, Tensor]  # weighted terms of the loss by name, each a scalar


class Diverged(Exception):
    """A term of the loss is not finite."""


class TrainingNetwork(nn.Module):
    """Stylization and mask branch in one forward pass, as DistributedDataParallel needs it."""

    def __init__(self, network: StyleNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.context = network, config.context
        # The mask branch is not compiled: on a CPU it gets slower (107 to 159 ms).
        self.stylize = torch.compile(network.forward) if config.compile else network.forward

    def forward(
        self,
        crop: Tensor | None,
        alpha: Tensor,
        mask: Tensor,
        photo: Tensor | None,
        styles: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Stylize the crops by the given mask, and return the mask logits of the photographs.

        `crop`, `photo`: None if stylization or the mask branch does not learn.
        """
        stylized = logits = None
        if crop is not None:
            stylized = self.stylize(crop, alpha, mask, context=self.context, styles=styles)
        if photo is not None:
            logits = self.network.mask_logits(photo)
        return stylized, logits


class Trainer:
    """Trains a network in one process; with several, each has a Trainer of its own."""

    def __init__(
        self,
        config: TrainConfig,
        device: str,
        world_size: int = 1,
        resume: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build everything that a run needs.

        `device`: cpu, cuda:N or mps; `world_size`: processes that share each batch; `resume`:
        continue from the state in the run's folder; `clock`: returns the time in seconds. Raises
        ValueError if there is no state, OSError if weights cannot be downloaded.
        """
        self.config, self.world_size = config, world_size
        self.device, self.device_type = device, device.partition(":")[0]
        self.objective = initialization.build_objective(config, device)
        network, self.start_share, self.initial = self._build_network(resume)
        network = initialization.freeze(network, config).to(device)
        # Described once: the files may be moved while the run goes on.
        self.styles = initialization.describe_styles(config)
        if network.config.styles != len(self.styles):
            raise ValueError(
                f"{config.output}: this run has {network.config.styles} styles, not "
                f"{len(self.styles)}; name the same style images"
            )
        self.lightness: tuple[float, float] | None = None  # range that the contrast is matched to
        if config.contrast:
            self.lightness = contrast.target_range(initialization.style_groups(config))
        self.teacher = initialization.build_teacher(config, self.styles, device)
        self.precision = pick_training_precision(config.precision, self.device_type)
        scaled = self.precision == "fp16" and self.device_type == "cuda"
        self.state = TrainState(
            network,
            optim.averaged_model(network, config.ema),
            optim.build_optimizers(network, config),
            torch.amp.GradScaler(self.device_type, enabled=scaled),
            None if resume else initialization.provenance(config),
        )
        if resume:
            self._resume()
        self.clock = clock
        self.last_seconds = self.state.seconds / max(self.state.step, 1)  # of the last step
        self.started = clock() - self.state.seconds
        self.schedulers = optim.build_schedulers(
            self.state.optimizers, config, self.state.step, self._time_share
        )
        self.trainable = [p for p in network.parameters() if p.requires_grad]
        self.norms = optim.norm_parameters(network)
        self.model = self._distribute(TrainingNetwork(network, config).train())
        self.skipped: dict[str, None] = {}  # ordered: messages about skipped photographs

    def _build_network(self, resume: bool) -> tuple[StyleNetwork, float, dict[str, Tensor]]:
        """Return the network to train, the weight of the initial parameters, and those."""
        config = self.config
        share = config.start_share
        if config.new_share is not None and not all(initialization.known_rows(config)):
            share = config.new_share
        restored = restore_network(Path(config.output)).to(self.device) if resume else None
        if restored is not None and not share:
            return restored, share, {}
        initial = initialization.build_network(config).to(self.device)
        start_new_styles(initial, config, self.objective)
        parameters = {k: v.detach().clone() for k, v in initial.named_parameters()} if share else {}
        return initial if restored is None else restored, share, parameters

    @property
    def step(self) -> int:
        """Return the steps done."""
        return self.state.step

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        return float(self.schedulers[0].get_last_lr()[0])

    @property
    def share(self) -> float:
        """Return the share of the run that is done: of --minutes if given, else of --steps."""
        if self.config.minutes is not None:
            return self.state.seconds / (60 * self.config.minutes)
        return self.state.step / self.config.steps

    @property
    def finished(self) -> bool:
        """Return whether the run is at its end; of --minutes, within half a step."""
        if self.config.minutes is not None:
            return self.state.seconds + self.last_seconds / 2 >= 60 * self.config.minutes
        return self.state.step >= self.config.steps

    def start_clock(self) -> None:
        """Begin to count the time of training; what has passed before does not count."""
        self.started = self.clock() - self.state.seconds

    def _stop_time(self, began: float) -> None:
        """Record the time after a step that began at `began`, the same in all processes."""
        now = self.clock()
        times = torch.tensor([now - self.started, now - began], dtype=torch.float64)
        if distributed.is_initialized():
            times = times.to(self.device)
            distributed.broadcast(times, src=0)
        self.state.seconds, self.last_seconds = times.tolist()

    def _time_share(self) -> float | None:
        """Return the share of --minutes at the end of the next step; None for --steps."""
        if self.config.minutes is None:
            return None
        return (self.state.seconds + self.last_seconds) / (60 * self.config.minutes)

    def _resume(self) -> None:
        self.state.load(Path(self.config.output))
        # --foreground may have changed.
        classes = foreground_classes(self.config.foreground)
        for network in (self.state.network, cast(StyleNetwork, self.state.average.module)):
            network.mask_branch.head.set_foreground_classes(classes)

    def _distribute(self, model: nn.Module) -> nn.Module:
        if self.world_size == 1:
            return model
        device_ids = [torch.device(self.device)] if self.device_type == "cuda" else None
        # During mask pre-training stylization has no gradients.
        unused = self.config.mask_steps > 0
        return DistributedDataParallel(model, device_ids=device_ids, find_unused_parameters=unused)

    # The training step

    def train_step(self, batches: Iterator[Sample]) -> Terms:
        """Take one optimizer step; return the weighted terms, averaged over its batches.

        Raises Diverged, before any weight has changed, if a term is not finite.
        """
        state, count, began = self.state, self.config.accumulate, self.clock()
        sums: Terms = {}
        for number in range(1, count + 1):
            with self._gradient_sync(last=number == count):
                terms = self._terms(next(batches))
                self._check_finite(terms)
                loss = torch.stack(list(terms.values())).sum() / count
                state.scaler.scale(loss).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / count
        self._update_weights()
        state.step, state.pictures = (
            state.step + 1,
            state.pictures + self.config.pictures_per_step,
        )
        state.average.update_parameters(state.network)
        self._stop_time(began)
        for scheduler in self.schedulers:
            scheduler.step()
        return sums

    def _gradient_sync(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients in the last batch of a step only."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        return self.model.no_sync()

    def _update_weights(self) -> None:
        state = self.state
        for optimizer in state.optimizers:
            state.scaler.unscale_(optimizer)
        if state.step < self.config.norm_steps:
            for parameter in self.trainable:
                if parameter not in self.norms:
                    parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.trainable, self.config.gradient_clip)
        for optimizer in state.optimizers:
            # An overflow in one optimizer's gradients makes the norm, and so all of them, useless.
            if not state.scaler.is_enabled() or norm.isfinite():
                state.scaler.step(optimizer)
            optimizer.zero_grad()
        state.scaler.update()

    def _check_finite(self, terms: Terms) -> None:
        bad = [name for name, value in terms.items() if not value.isfinite()]
        if bad:
            raise Diverged(f"step {self.step + 1}: {', '.join(bad)} not finite")

    # The three modes: mask pre-training, distillation, objective

    def _terms(self, batch: Sample) -> Terms:
        """Return the weighted terms of a batch in the mode of the present step."""
        for note in filter(None, batch.skipped):
            self.skipped |= dict.fromkeys(note.splitlines())
        batch = self._to_device(batch)
        config = self.config
        if self.step < config.mask_steps:
            return self._mask_pretraining(batch)
        batch = self._thin_photos(batch)
        if self.teacher is not None and self.share < config.teacher_share:
            return self._stylization(batch, self.teacher)
        return self._stylization(batch, None)

    def _mask_pretraining(self, batch: Sample) -> Terms:
        """Train the mask branch alone, on every photograph of the batch."""
        with self._autocast():
            _, logits = self.model(None, batch.alpha, batch.crop_mask, batch.photo)
        return self._mask_terms(logits, batch)

    def _stylization(self, batch: Sample, teacher: StyleNetwork | None) -> Terms:
        """Train on a teacher's output or, without one, on the objective.

        With temporal consistency also on the same output for a warped copy of each crop.
        """
        styles, count = self._draw_styles(batch), len(batch.crop)
        crops, masks, alphas, crop_styles = batch.crop, batch.crop_mask, batch.alpha, styles
        warps = None
        if self.config.temporal_weight:
            warps = draw_warps(batch.seed.tolist(), batch.crop.shape[-1], self.device)
            crops, masks, alphas = add_warped(crops, masks, alphas, warps)
            crop_styles = None if styles is None else torch.cat([styles, styles])
        with self._autocast():
            outputs, logits = self._forward(
                batch, _channels_last(crops), masks, alphas, crop_styles
            )
            stylized = outputs[:count]
            if teacher is None:
                terms = self._objective_terms(batch, stylized, styles)
            else:
                terms = self._distillation_terms(batch, stylized, styles, teacher)
        if warps is not None:
            warped, valid = warp(stylized, self._without_context(warps.displacements))
            terms |= self.objective.temporal_term(outputs[count:], warped, valid)
        return terms | self._mask_terms(logits, batch)

    def _forward(
        self,
        batch: Sample,
        crops: Tensor,
        masks: Tensor,
        alphas: Tensor,
        styles: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Stylize crops; return the photographs' mask logits too if the mask branch learns."""
        photo = batch.photo if self.config.mask_weight else None
        stylized, logits = self.model(crops, alphas, masks, photo, styles)
        return stylized, logits

    def _objective_terms(self, batch: Sample, stylized: Tensor, styles: Tensor | None) -> Terms:
        content, mask = map(self._without_context, (batch.crop, batch.crop_mask))
        inputs = ObjectiveInput(stylized, batch.alpha, mask, styles=styles)
        return self.objective(content, inputs)

    def _distillation_terms(
        self, batch: Sample, stylized: Tensor, styles: Tensor | None, teacher: StyleNetwork
    ) -> Terms:
        crop, context = _channels_last(batch.crop), self.config.context
        with torch.no_grad():
            target = teacher(crop, batch.alpha, batch.crop_mask, context=context, styles=styles)
        return self.objective.distillation_term(stylized, target)

    def _mask_terms(self, logits: Tensor | None, batch: Sample) -> Terms:
        if logits is None:
            return {}
        return self.objective.mask_term(logits, batch.photo_mask, batch.photo_valid)

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device_type, dtype, enabled=dtype != torch.float32)

    def _to_device(self, batch: Sample) -> Sample:
        return Sample._make(
            x.to(self.device, non_blocking=True) if isinstance(x, Tensor) else x for x in batch
        )

    def _thin_photos(self, batch: Sample) -> Sample:
        """Keep every `mask_every`th photograph for the mask branch."""
        every = self.config.mask_every
        return batch._replace(
            photo=batch.photo[::every],
            photo_mask=batch.photo_mask[::every],
            photo_valid=batch.photo_valid[::every],
        )

    def _without_context(self, x: Tensor) -> Tensor:
        """Crop `(B, C, S, S)` to what is stylized."""
        inside = slice(self.config.context, x.shape[-1] - self.config.context)
        return x[..., inside, inside]

    def _draw_styles(self, batch: Sample) -> Tensor | None:
        """Draw two styles of a foundation for each picture, `(B, 2)`; None for a pair."""
        styles = self.state.network.config.styles
        if styles == 2:
            return None
        drawn = [
            torch.randperm(styles, generator=torch.Generator().manual_seed(seed))[:2]
            for seed in batch.seed.tolist()
        ]
        return torch.stack(drawn).to(self.device)

    # Results

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, interpolated with the initial ones by `start_share`.

        Linear interpolation of the parameters keeps strengths of both (WiSE-FT, Wortsman et al.
        2022). Buffers, such as the foreground classes, are the run's own.
        """
        average = self.state.average.module.state_dict()
        share = self.start_share
        return average | {k: torch.lerp(average[k], v, share) for k, v in self.initial.items()}

    def averaged_network(self) -> StyleNetwork:
        """Return a new network with the averaged weights, before the contrast is matched."""
        network = StyleNetwork(self.state.network.config)
        network.load_state_dict(self.weights())
        return network.eval().requires_grad_(False).to(self.device)

    def save(self) -> None:
        """Write the checkpoint and the state to resume from. Raises OSError or ValueError."""
        folder, state = Path(self.config.output), self.state
        header = {
            "styles": self.styles,
            "training": asdict(self.config),
            "objective": asdict(self.objective.weights),
            "seed": self.config.seed,
            "git_revision": git_revision(),
            "pictures_seen": state.pictures,
            "earlier": state.earlier,
        }
        save_checkpoint(folder / MODEL_FILE, state.network, header, self.weights())
        state.save(folder)

    def match_contrast(self, photos: Sequence[Path]) -> None:
        """Match the contrast of the saved checkpoint to the style images.

        `photos`: to measure by; a few of them are used. The state is left as it is. Raises OSError
        or CheckpointError if the checkpoint cannot be read or written.
        """
        pixels = _readable(contrast.spread(photos, contrast.COUNT))
        if self.lightness is not None and pixels:
            model = Path(self.config.output) / MODEL_FILE
            contrast.adjust_checkpoint(model, self.lightness, pixels)


def _readable(files: Sequence[Path]) -> list[Tensor]:
    """Return the photographs `(1, 3, H, W)` that can be read."""
    photos = []
    for file in files:
        with suppress(PictureError):
            photos.append(read_picture(file).pixels[None])
    return photos


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
