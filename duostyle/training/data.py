"""The data of a run: photographs, labels, batches, warped copies, validation photographs."""

import hashlib
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from duostyle.data.bundled import LABELS, bundled_photos
from duostyle.data.hub import fetch_hub_photos
from duostyle.data.masks import DEEPLAB_SIDE, Labeler, foreground_classes, make_labels
from duostyle.data.photos import Entry, PhotoDataset, PositionSampler, Sample, Sampling, find_labels
from duostyle.files import cache_folder, sha256
from duostyle.io.images import PictureError, read_picture
from duostyle.io.pixels import long_side, resize, short_side
from duostyle.models import load_checkpoint, resolve
from duostyle.training.initialization import style_files
from duostyle.training.settings import BUNDLED, LEARNED, TrainConfig

MAX_STEPS = 2**31  # of a run of --minutes


def locate_data(config: TrainConfig) -> tuple[Path, Path]:
    """Return the folders of photographs and labels, without downloading or making any."""
    photos = Path(config.photos)
    if config.photos == BUNDLED:
        photos = cache_folder() / "photos" / BUNDLED
    elif not photos.is_dir():
        name = f"{config.photos.replace('/', '--')}-{config.photo_count}-{config.seed}"
        photos = cache_folder() / "photos" / name
    if config.labels == LEARNED and config.init is not None:
        made_by = f"{sha256(resolve(config.init))} {foreground_classes(config.foreground)}"
    elif config.labels is not None:
        return photos, Path(config.labels)
    elif config.photos == BUNDLED:
        return photos, LABELS
    else:
        made_by = config.segmenter
    key = hashlib.sha1(f"{photos.resolve()} {made_by}".encode()).hexdigest()[:12]
    return photos, cache_folder() / "labels" / key


def check_files(config: TrainConfig) -> None:
    """Raise PictureError if the photographs or a style image are missing.

    Photographs are a folder, or the id of a dataset on the hub, `user/dataset`, unless a local
    folder `user` exists.
    """
    photos = Path(config.photos)
    if config.photos != BUNDLED and not photos.is_dir():
        local = config.photos.startswith((".", "/", "~")) or config.photos.count("/") != 1
        if local or photos.parent.is_dir():
            raise PictureError(f"{config.photos}: no such folder of photographs")
    for style in style_files(config):
        if not style.is_file():
            raise PictureError(f"{style}: no such file (style image)")
    if config.preview is not None and not Path(config.preview).is_file():
        raise PictureError(f"{config.preview}: no such file (--preview)")


def prepare_data(config: TrainConfig, device: str) -> list[Entry]:
    """Download missing photographs and make missing labels.

    The settings have passed `check_files`. Raises PictureError, OSError or ValueError if there is
    nothing to train on.
    """
    photos, labels = locate_data(config)
    if config.photos == BUNDLED:
        bundled_photos(photos)
    elif not Path(config.photos).is_dir():
        fetch_hub_photos(config.photos, photos, config.photo_count, config.seed)
    entries = find_labels(photos, labels)
    if config.labels == LEARNED and len(entries) > config.photo_count:
        # Labeling takes longer than training: 4 photographs a second on a CPU core.
        entries = random.Random(config.seed).sample(entries, config.photo_count)
    model: str | Callable[[], Labeler] = config.segmenter
    if config.labels == LEARNED:
        model = partial(learned_labeler, config, device)
    make_labels([(e.photo, e.label) for e in entries], model, device)
    return entries


def learned_labeler(config: TrainConfig, device: str) -> Labeler:
    """Return a labeler that uses the mask branch of --init.

    It knows foreground and background only: the foreground gets the first of the classes that
    `--foreground` names. Raises CheckpointError if the checkpoint cannot be loaded.
    """
    if config.init is None:
        raise ValueError("--labels learned needs --init: a checkpoint with a mask branch")
    network, classes = load_checkpoint(config.init, device), foreground_classes(config.foreground)
    network.mask_branch.head.set_foreground_classes(classes)

    @torch.inference_mode()
    def label(picture: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        reduced = resize(picture, long_side((height, width), DEEPLAB_SIDE)).clamp(0, 1)
        mask = network.encode(reduced.to(device)).mask.cpu()
        mask = F.interpolate(mask, (height, width), mode="bilinear", align_corners=False)
        return (classes[0] * (mask > 0.5)).to(torch.uint8)

    return label


def hold_out(entries: list[Entry], config: TrainConfig) -> tuple[list[Entry], Tensor]:
    """Split off the validation photographs; return the rest and `(B, 3, P, P)`.

    At most a quarter of the photographs are held out, and at least one if there are two.
    """
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(entries), generator=generator).tolist()
    count = min(config.validation_count, max(len(entries) // 4, 1), len(entries) - 1)
    side, photos, taken = config.photo_size, list[Tensor](), set[int]()
    for index in order:
        if len(photos) == count:
            break
        try:
            pixels = read_picture(entries[index].photo).pixels[None]
        except PictureError:
            continue  # the dataset will report it
        taken.add(index)
        height, width = short_side((pixels.shape[-2], pixels.shape[-1]), side)
        top, left = (height - side) // 2, (width - side) // 2
        photos.append(resize(pixels, (height, width))[..., top : top + side, left : left + side])
    rest = [entry for index, entry in enumerate(entries) if index not in taken]
    return rest, torch.cat(photos) if photos else torch.empty(0, 3, 1, 1)


def build_loader(
    config: TrainConfig,
    entries: list[Entry],
    step: int = 0,
    pictures: int = 0,
    rank: int = 0,
    world_size: int = 1,
    late: bool = False,
) -> tuple[DataLoader[Sample], PhotoDataset]:
    """Return the batches of this process for the rest of the run, and their dataset.

    `step`, `pictures`: done so far; `rank`: of this process among `world_size`; `late`: of a run
    of --minutes, whether all crops have --late-crop-size. Such a run has endless batches.
    """
    stop = pictures + (config.steps - step) * config.pictures_per_step
    late_steps = round(config.steps * config.late_share)
    late_from = stop - late_steps * config.pictures_per_step
    if config.minutes is not None:
        stop = pictures + MAX_STEPS * config.pictures_per_step
        late_from = pictures if late else stop
    sampling = Sampling(
        photo_size=config.photo_size,
        photo_share=config.photo_share,
        crop_size=config.crop_size + 2 * config.context,
        late_crop_size=config.late_crop_size + 2 * config.context,
        late_from=late_from,
        crop_zoom=config.crop_zoom,
        empty_prob=config.empty_prob,
        swap_prob=config.swap_prob,
        alpha_low=config.alpha_low,
        alpha_high=config.alpha_high,
        alpha_ends=config.alpha_ends,
        seed=config.seed,
    )
    dataset = PhotoDataset(entries, foreground_classes(config.foreground), sampling)
    loader = DataLoader(
        dataset,
        batch_size=config.batch // world_size,
        sampler=PositionSampler(pictures, stop, config.batch, rank, world_size),
        num_workers=config.workers,
        worker_init_fn=ignore_signals,
        pin_memory=torch.cuda.is_available(),
        drop_last=True,
    )
    return loader, dataset


def ignore_signals(_: int) -> None:
    """Keep Ctrl-C and SIGTERM from a loader's worker: the main process stops the workers.

    Both are sent to the process group. On Windows, which has none, workers ignore Ctrl-C, and
    SIGTERM reaches one process only.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
