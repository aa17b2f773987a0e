"""Build the parts of a run from its settings: network, teacher, objective."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from duostyle.data.masks import foreground_classes
from duostyle.files import sha256
from duostyle.io.images import PictureError, list_pictures, read_style
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
from duostyle.training.settings import TrainConfig


def style_files(config: TrainConfig) -> list[Path]:
    """Return the style images: of a pair, the foreground's first, or all of a foundation.

    Raises PictureError if a foundation has fewer than two, ValueError if a pair lacks one.
    """
    if config.styles is None:
        if config.foreground_style is None or config.background_style is None:
            raise ValueError("--foreground-style and --background-style are needed")
        return [Path(config.foreground_style), Path(config.background_style)]
    paths = [Path(name) for name in config.styles.split(",")]
    files = [file for path in paths for file in (list_pictures(path) if path.is_dir() else [path])]
    if len(files) < 2:
        raise PictureError(f"{config.styles}: a foundation needs two style images or more")
    return files


def describe_styles(config: TrainConfig) -> list[dict[str, str]]:
    """Return name and SHA-256 of every style image, for the checkpoint's header."""
    return [
        {"name": path.stem, "file": path.name, "sha256": sha256(path)}
        for path in style_files(config)
    ]


def provenance(config: TrainConfig) -> dict[str, Any] | None:
    """Return how the checkpoint that a run starts from was trained; None without one."""
    if config.init is None:
        return None
    header = read_header(config.init)
    kept = ("styles", "training", "objective", "git_revision", "pictures_seen", "earlier")
    return {name: header.get(name) for name in kept}


def build_network(config: TrainConfig) -> StyleNetwork:
    """Return the initial network: from a checkpoint, or with a pretrained backbone.

    Raises CheckpointError, PictureError, OSError or ValueError for unusable files.
    """
    torch.manual_seed(config.seed)
    source = load_checkpoint(config.init) if config.init is not None else None
    sizes = source.config if source is not None else SIZES[config.size]
    files = style_files(config)
    # The weights fit any value of these.
    sizes = replace(
        sizes,
        styles=len(files),
        mask_size=config.mask_size or sizes.mask_size,
        mask_stride=config.mask_stride or sizes.mask_stride,
        margin=MARGIN,
    )
    network = StyleNetwork(sizes)
    if config.init is not None and source is not None:
        known = [style.get("sha256") for style in read_header(config.init).get("styles", [])]
        digests = [sha256(file) for file in files]
        rows = [known.index(digest) if digest in known else None for digest in digests]
        copy_weights(network, source, rows)
        for number, row in enumerate(rows):
            if row is None:
                initialize_colors(network, number, read_style(files[number], config.style_size))
    elif config.teacher is not None:
        copy_mask_branch(network, load_checkpoint(config.teacher))
    elif config.backbone_weights != "random":
        pretrained = config.backbone_weights == "imagenet"
        weights = None if pretrained else Path(config.backbone_weights)
        network.mask_branch.backbone = pretrained_backbone(weights, sizes.mask_stride)
    return network


def copy_weights(network: StyleNetwork, source: StyleNetwork, rows: Sequence[int | None]) -> None:
    """Copy the weights of another network, with the norm parameters of each style.

    `rows`: for each style of `network`, the style of `source` to copy; None for a new one, which
    gets the mean of all.
    """
    state = source.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, ConditionalNorm):
            for table in (f"{name}.scale", f"{name}.shift"):
                values = state[table]
                mean = values.mean(dim=0)
                state[table] = torch.stack([mean if r is None else values[r] for r in rows])
    network.load_state_dict(state)


@torch.no_grad()
def initialize_colors(network: StyleNetwork, style: int, image: Tensor) -> None:
    """Give a new style its image's mean and standard deviation of each color channel.

    `image`: `(1, 3, H, W)` in [0, 1]. They are set in the last norm, before the sigmoid.
    """
    logits = torch.logit(image, eps=0.02)
    norm = network.to_rgb.style
    norm.shift[style, :, 0, 0] = logits.mean(dim=(0, 2, 3))
    norm.scale[style, :, 0, 0] = logits.std(dim=(0, 2, 3))


def copy_mask_branch(network: StyleNetwork, source: StyleNetwork) -> None:
    """Copy the mask branch of another network, except tensors of another shape."""
    own = network.mask_branch.state_dict()
    state = source.mask_branch.state_dict()
    fitting = {name: v for name, v in state.items() if v.shape == own[name].shape}
    network.mask_branch.load_state_dict(fitting, strict=False)


def freeze(network: StyleNetwork, config: TrainConfig) -> StyleNetwork:
    """Set the foreground classes and freeze what does not learn: pretrained and unused parts."""
    head, backbone = network.mask_branch.head, network.mask_branch.backbone
    head.set_foreground_classes(foreground_classes(config.foreground))
    backbone.requires_grad_(config.train_backbone)
    head.requires_grad_(config.train_backbone or not head.taken)
    if not config.mask_weight:  # the mask branch reads the encoder's features
        network.mask_branch.requires_grad_(False)
        network.encoder.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def build_teacher(
    config: TrainConfig, styles: Sequence[Mapping[str, str]], device: str
) -> StyleNetwork | None:
    """Return the network to distill from; None without one.

    `styles`: of the run, from `describe_styles`. Raises CheckpointError if it cannot be loaded,
    ValueError if it has other styles.
    """
    if config.teacher is None:
        return None
    known = [style.get("sha256") for style in read_header(config.teacher).get("styles", [])]
    if known != [style["sha256"] for style in styles]:
        raise ValueError(f"--teacher {config.teacher}: has other styles; name one of these styles")
    # In training mode no margin is added: a crop has real context.
    return load_checkpoint(config.teacher, device).train()


def build_objective(config: TrainConfig, device: str) -> Objective:
    """Return the objective for the run's styles."""
    weights = None if config.vgg_weights is None else Path(config.vgg_weights)
    vgg = PerceptualNetwork(weights).to(device)
    styles = [read_style(path, config.style_size).to(device) for path in style_files(config)]
    return Objective(vgg, styles, config.objective_weights())
