"""From settings to the parts of a run: data, network, objective."""

import hashlib
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from duostyle.cache import cache_folder
from duostyle.data.hub import fetch_hub_photos
from duostyle.data.masks import foreground_classes, make_labels
from duostyle.data.photos import Entry, PhotoDataset, PositionSampler, label_jobs
from duostyle.io.images import (
    PictureError,
    list_pictures,
    read_picture,
    read_style,
    resize,
    sha256,
    short_side,
)
from duostyle.losses import Objective, PerceptualNetwork
from duostyle.models import (
    MARGIN,
    SIZES,
    ConditionalNorm,
    StyleNetwork,
    load_checkpoint,
    pretrained_backbone,
    read_header,
)
from duostyle.training.muon import Muon, is_kernel
from duostyle.training.settings import TrainConfig


def locate_data(config: TrainConfig) -> tuple[Path, Path]:
    """Folders of photographs and labels; fetches neither."""
    photos = Path(config.photos)
    if not photos.is_dir():
        name = f"{config.photos.replace('/', '--')}-{config.photo_count}-{config.seed}"
        photos = cache_folder() / "photos" / name
    key = hashlib.sha1(f"{photos.resolve()} {config.segmenter}".encode()).hexdigest()[:12]
    labels = Path(config.labels) if config.labels else cache_folder() / "labels" / key
    return photos, labels


def prepare_data(config: TrainConfig, device: str) -> list[Entry]:
    """Fetch what has to be fetched and label what has no label yet.

    Raises PictureError, OSError or ValueError where there is nothing to train on.
    """
    photos, labels = locate_data(config)
    if not Path(config.photos).is_dir():
        if config.photos.startswith((".", "/", "~")) or config.photos.count("/") != 1:
            raise PictureError(f"{config.photos}: no such folder of photographs")
        fetch_hub_photos(config.photos, photos, config.photo_count, config.seed)
    entries = label_jobs(photos, labels)
    make_labels([(e.photo, e.label) for e in entries], config.segmenter, device)
    return entries


def build_loader(
    config: TrainConfig, entries: list[Entry], done: tuple[int, int], rank: int, world: int
) -> tuple[DataLoader, PhotoDataset]:
    """Batches of this process for the rest of the run; `done`: steps and pictures so far."""
    steps, seen = done
    stop = seen + (config.steps - steps) * config.pictures_per_step
    late_steps = round(config.steps * config.late_share)
    dataset = PhotoDataset(
        entries,
        foreground_classes(config.foreground),
        config.photo_size,
        config.photo_share,
        tuple(c + 2 * config.surroundings for c in (config.crop_size, config.late_crop_size)),
        config.crop_zoom,
        stop - late_steps * config.pictures_per_step,
        config.empty_share,
        config.exchange_share,
        config.alpha_ends,
        (config.alpha_low, config.alpha_high),
        config.seed,
    )
    loader = DataLoader(
        dataset,
        batch_size=config.batch // world,
        sampler=PositionSampler(seen, stop, config.batch, rank, world),
        num_workers=config.workers,
        worker_init_fn=_leave_signals_to_the_run,
        pin_memory=torch.cuda.is_available(),
        drop_last=True,
    )
    return loader, dataset


def _leave_signals_to_the_run(_: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach a process group: let the workers be none of it.

    On Windows, which has no such groups, they pass over Ctrl-C; SIGTERM goes to one process there.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def hold_out(entries: list[Entry], config: TrainConfig) -> tuple[list[Entry], Tensor]:
    """Split off the validation photographs; returns (the rest, `(B, 3, P, P)`)."""
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(entries), generator=generator).tolist()
    count = min(config.validation_count, len(entries) - 1)
    held: list[Tensor] = []
    taken: set[int] = set()
    for index in order:
        if len(held) == count:
            break
        try:
            pixels = read_picture(entries[index].photo).pixels[None]
        except PictureError:
            continue  # the training data will count and name it
        taken.add(index)
        height, width = short_side(tuple(pixels.shape[-2:]), config.photo_size)
        side = config.photo_size
        top, left = (height - side) // 2, (width - side) // 2
        held.append(resize(pixels, (height, width))[..., top : top + side, left : left + side])
    rest = [entry for index, entry in enumerate(entries) if index not in taken]
    return rest, torch.cat(held) if held else torch.empty(0, 3, 1, 1)


def build_network(config: TrainConfig) -> StyleNetwork:
    """A network with a pretrained backbone and head, or one that goes on from a checkpoint."""
    torch.manual_seed(config.seed)
    earlier = load_checkpoint(config.init) if config.init else None
    donor = load_checkpoint(config.mask_from) if config.mask_from else None
    sizes = earlier.config if earlier else SIZES[config.size]
    stride = donor.config.mask_stride if donor else sizes.mask_stride
    # None of these is in the weights.
    sizes = replace(
        sizes,
        mask_size=config.mask_size or sizes.mask_size,
        mask_stride=config.mask_stride or stride,
        margin=MARGIN,
    )
    files = style_files(config)
    network = StyleNetwork(replace(sizes, styles=len(files)))
    if earlier:
        known = [style.get("sha256") for style in read_header(config.init).get("styles", [])]
        digests = [sha256(file) for file in files]
        rows = [known.index(d) if d in known else None for d in digests]
        take_weights(network, earlier, rows)
        for number, row in enumerate(rows):
            if row is None:
                start_palette(network, number, read_style(files[number], config.style_size))
    elif config.teacher and not donor:
        donor = load_checkpoint(config.teacher)
    elif not donor and config.backbone_weights != "none":
        weights = Path(config.backbone_weights) if config.backbone_weights else None
        network.mask_branch.backbone = pretrained_backbone(weights, sizes.mask_stride)
    if donor:
        take_mask_branch(network, donor)
    if config.head_weights:
        network.mask_branch.head.load_trained(Path(config.head_weights))
    return network


def style_files(config: TrainConfig) -> list[Path]:
    """Return the paintings: the foreground's and the background's, or all of a foundation.

    Raises PictureError where a folder holds fewer than two.
    """
    if not config.styles:
        return [Path(config.foreground_style), Path(config.background_style)]
    named = [Path(name) for name in config.styles.split(",")]
    files = [file for path in named for file in (list_pictures(path) if path.is_dir() else [path])]
    if len(files) < 2:
        raise PictureError(f"{config.styles}: a foundation needs two paintings or more")
    return files


def take_weights(network: StyleNetwork, earlier: StyleNetwork, rows: Sequence[int | None]) -> None:
    """Start from another network's weights, its norm parameters row by row.

    `rows`: for each style of `network` the row of `earlier` with the same painting, None for a
    painting that is new: it starts from the mean of all.
    """
    state = earlier.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, ConditionalNorm):
            for table in (f"{name}.scale", f"{name}.shift"):
                old = state[table]
                mean = old.mean(dim=0)
                state[table] = torch.stack([mean if row is None else old[row] for row in rows])
    network.load_state_dict(state)


@torch.no_grad()
def start_palette(network: StyleNetwork, row: int, painting: Tensor) -> None:
    """Let a new style start with its painting's colours: mean and spread of each channel.

    `painting`: `(1, 3, H, W)` in [0, 1]; the last norm is followed by a sigmoid.
    """
    logits = torch.logit(painting, eps=0.02)
    norm = network.to_rgb.style
    norm.shift[row, :, 0, 0] = logits.mean(dim=(0, 2, 3))
    norm.scale[row, :, 0, 0] = logits.std(dim=(0, 2, 3))


def take_mask_branch(network: StyleNetwork, donor: StyleNetwork) -> None:
    """Start from another network's mask branch: everything of it that has the same shape."""
    own = network.mask_branch.state_dict()
    state = donor.mask_branch.state_dict()
    fitting = {name: v for name, v in state.items() if v.shape == own[name].shape}
    network.mask_branch.load_state_dict(fitting, strict=False)


def build_teacher(config: TrainConfig, device: str) -> StyleNetwork | None:
    """The network that is imitated, ready to run; None without one.

    Raises CheckpointError where it cannot be had, ValueError where it paints in other styles.
    """
    if not config.teacher:
        return None
    known = [style["sha256"] for style in read_header(config.teacher).get("styles", [])]
    if known != [style["sha256"] for style in describe_styles(config)]:
        raise ValueError(f"--teacher {config.teacher}: is of other paintings; name one of these")
    # In training mode: what lies around a crop is real, no margin is needed.
    return load_checkpoint(config.teacher, device).train()


def set_up(network: StyleNetwork, config: TrainConfig) -> StyleNetwork:
    """Choose what is foreground and what learns: a teacher's own parts do not, nor what is idle."""
    head, backbone = network.mask_branch.head, network.mask_branch.backbone
    head.choose(foreground_classes(config.foreground))
    backbone.requires_grad_(config.train_backbone)
    head.requires_grad_(config.train_backbone or not head.taken)
    if not config.mask_weight:  # it reads the encoder's features
        network.mask_branch.requires_grad_(False)
        network.encoder.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def norm_parameters(network: StyleNetwork) -> set[nn.Parameter]:
    """Return the parameters that belong to styles: scale and shift of the conditional norms."""
    modules = (m for m in network.modules() if isinstance(m, ConditionalNorm))
    return {parameter for module in modules for parameter in module.parameters()}


def build_optimizers(network: StyleNetwork, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions' kernels, Adam for the rest, and for what comes trained.

    Muon's steps are as large in every direction; a trained backbone would not be one for long.
    """
    branch = network.mask_branch
    trained = [p for part in (branch.backbone, branch.head) for p in part.parameters()]
    trained = {p for p in trained if p.requires_grad}
    rest = [p for p in network.parameters() if p.requires_grad and p not in trained]
    norms = norm_parameters(network)
    kernels = [p for p in rest if is_kernel(p) and p not in norms]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if not is_kernel(p) and p not in norms]},
        {"params": [p for p in rest if p in norms], "share": config.norm_rate},
    ]
    if config.train_backbone:
        groups.append({"params": list(trained), "share": config.backbone_rate})
    else:  # a head that is learned from nothing
        kernels += [p for p in trained if is_kernel(p)]
        groups[0]["params"] += [p for p in trained if not is_kernel(p)]
    return [Muon(kernels, config.learning_rate), torch.optim.Adam(groups, config.learning_rate)]


def build_objective(config: TrainConfig, device: str) -> Objective:
    """The objective for the two paintings."""
    vgg = PerceptualNetwork(Path(config.vgg_weights) if config.vgg_weights else None).to(device)
    styles = [read_style(path, config.style_size).to(device) for path in style_files(config)]
    return Objective(vgg, styles, config.objective_weights())


def describe_styles(config: TrainConfig) -> list[dict[str, str]]:
    """Return name and SHA-256 of every painting, for the header."""
    return [
        {"name": path.stem, "file": path.name, "sha256": sha256(path)}
        for path in style_files(config)
    ]


def provenance(config: TrainConfig) -> dict[str, Any] | None:
    """What the checkpoint that a run starts from says of its own training; None without one."""
    if not config.init:
        return None
    header = read_header(config.init)
    kept = ("styles", "training", "objective", "git_revision", "pictures_seen", "earlier")
    return {name: header.get(name) for name in kept}
