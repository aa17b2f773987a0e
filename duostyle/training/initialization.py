"""Build the parts of a run from its settings: network, teacher, objective."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

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


def style_groups(config: TrainConfig) -> list[list[Path]]:
    """Return the images of each style: of a pair, the foreground's first; of a foundation, one.

    Raises PictureError if a folder holds none or a foundation has fewer than two, ValueError if a
    pair lacks a style.
    """
    if config.styles is None:
        if config.foreground_style is None or config.background_style is None:
            raise ValueError("--foreground-style and --background-style are needed")
        return [_images(config.foreground_style), _images(config.background_style)]
    files = _images(config.styles)
    if len(files) < 2:
        raise PictureError(f"{config.styles}: a foundation needs two style images or more")
    return [[file] for file in files]


def style_files(config: TrainConfig) -> list[Path]:
    """Return all style images. Raises as `style_groups` does."""
    return [file for group in style_groups(config) for file in group]


def _images(names: str) -> list[Path]:
    """Return the images that a text names: a file, a folder, or several with commas between."""
    parts = [names] if Path(names).exists() else [n.strip() for n in names.split(",")]
    files: list[Path] = []
    for path in map(Path, filter(None, parts)):
        files += list_pictures(path) if path.is_dir() else [path]
    if not files:
        raise PictureError(f"{names}: no style images")
    return files


def style_name(config: TrainConfig, number: int) -> str:
    """Return the name of a style: of its image or folder, or of its images joined by `+`."""
    names = (config.foreground_style, config.background_style)[number]
    if config.styles is None and names is not None and Path(names).is_dir():
        return Path(names).resolve().name
    return "+".join(path.stem for path in style_groups(config)[number])


def describe_styles(config: TrainConfig) -> list[dict[str, str]]:
    """Return name and SHA-256 of every style, for the checkpoint's header.

    Of a style of several images: the digest of their sorted digests.
    """
    described = []
    for number, group in enumerate(style_groups(config)):
        name = style_name(config, number) if len(group) > 1 else group[0].stem
        files = ",".join(path.name for path in group)
        described.append({"name": name, "file": files, "sha256": style_digest(group)})
    return described


def style_digest(group: Sequence[Path]) -> str:
    """Return the SHA-256 of a style's image; of several, of their sorted digests."""
    digests = sorted(map(sha256, group))
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def provenance(config: TrainConfig) -> dict[str, Any] | None:
    """Return how the checkpoint that a run starts from was trained; None without one."""
    if config.init is None:
        return None
    header = read_header(config.init)
    kept = ("styles", "training", "objective", "git_revision", "pictures_seen", "earlier")
    made = ("contrast", "start")  # only in headers of checkpoints that were matched or converted
    return {k: header.get(k) for k in kept} | {k: header[k] for k in made if k in header}


def build_network(config: TrainConfig) -> StyleNetwork:
    """Return the initial network: from a checkpoint, or with a pretrained backbone.

    Raises CheckpointError, PictureError, OSError or ValueError for unusable files.
    """
    torch.manual_seed(config.seed)
    source = load_checkpoint(config.init) if config.init is not None else None
    sizes = source.config if source is not None else SIZES[config.size]
    groups = style_groups(config)
    # The weights fit any value of these.
    sizes = replace(
        sizes,
        styles=len(groups),
        mask_size=config.mask_size or sizes.mask_size,
        mask_stride=config.mask_stride or sizes.mask_stride,
        margin=MARGIN,
    )
    network = StyleNetwork(sizes)
    if config.init is not None and source is not None:
        copy_weights(network, source, known_rows(config))
    elif config.teacher is not None:
        copy_mask_branch(network, load_checkpoint(config.teacher))
    elif config.backbone_weights != "random":
        pretrained = config.backbone_weights == "imagenet"
        weights = None if pretrained else Path(config.backbone_weights)
        network.mask_branch.backbone = pretrained_backbone(weights, sizes.mask_stride)
    return network


def copy_weights(
    network: StyleNetwork, source: StyleNetwork, rows: Sequence[Sequence[int]]
) -> None:
    """Copy the weights of another network, with the norm parameters of each style.

    `rows`: for each style of `network`, the styles of `source` whose mean it gets; none for a new
    style, which gets the mean of all (see `new_styles.start_new_styles`).
    """
    state = source.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, ConditionalNorm):
            for table in (f"{name}.scale", f"{name}.shift"):
                values = state[table]
                chosen = [list(r) or list(range(len(values))) for r in rows]
                state[table] = torch.stack([values[r].mean(dim=0) for r in chosen])
    network.load_state_dict(state)


def known_rows(config: TrainConfig) -> list[list[int]]:
    """Return, for each style of a run, the styles of --init that are its images; none if new."""
    if config.init is None:
        return [[] for _ in style_groups(config)]
    known = [style.get("sha256") for style in read_header(config.init).get("styles", [])]
    rows = []
    for group in style_groups(config):
        digests = [style_digest(group), *map(sha256, group)]
        rows.append(list(dict.fromkeys(known.index(d) for d in digests if d in known)))
    return rows


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
    if not config.mask_weight:
        network.mask_branch.requires_grad_(False)
    if config.norms_only or config.shared_branches:
        # One module in both places: a style looks the same in either region.
        network.branch2 = network.branch1
    if config.norms_only:
        network.requires_grad_(False)
        for module in network.branch1.modules():
            if isinstance(module, ConditionalNorm):
                module.requires_grad_(True)
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
    styles = [
        [read_style(path, config.style_size).to(device) for path in group]
        for group in style_groups(config)
    ]
    return Objective(vgg, styles, config.objective_weights())
