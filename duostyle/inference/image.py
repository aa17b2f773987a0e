"""Pictures through a network: tensors, Pillow images, files."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from duostyle.inference.alpha import AlphaCurve
from duostyle.io.color import keep_chroma
from duostyle.io.images import (
    Picture,
    PictureError,
    decode,
    long_side,
    matte,
    read_mask,
    read_picture,
    resize,
    say_first_alone,
    short_side,
    tensor_to_pil,
    write_picture,
)
from duostyle.io.paths import BRANCHES, Outputs, matte_of
from duostyle.models import PRECISIONS, SMALLEST_SIDE, Painter


class NotFinite(ValueError):
    """A network's result that holds values that are no numbers."""


@torch.inference_mode()
def stylize(
    network: Painter,
    content: Tensor,
    alpha: Tensor | float = 0.0,
    mask: Tensor | None = None,
    *,
    swap: bool = False,
    keep_colors: bool = False,
    size: int | None = None,
    branches: bool = False,
    precision: str = "fp32",
) -> dict[str, Tensor]:
    """Stylize tensors; every result has the content's size, `(B, C, H, W)` in [0, 1].

    `content`: `(B, 3, H, W)` RGB in [0, 1]; `alpha`: a number or `(B,)` in [0, 1]; `mask`:
    `(B, 1, H, W)` in [0, 1], 1 = foreground, instead of the learned one; `swap`: exchange the two
    styles; `keep_colors`: luminance from the painting, chroma from the photograph; `size`: paint
    with the long side at this many pixels (larger strokes), then enlarge again; `branches`:
    return `foreground`, `background` and `mask` beside `stylized`; `precision`: fp32, bf16, fp16.
    Raises ValueError where a shape, alpha or precision is off, NotFinite where the weights are.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision}")
    if content.dim() != 4 or not content.is_floating_point():
        raise ValueError(f"content must be float (B, 3, H, W), not {tuple(content.shape)}")
    device, content = network.device, content.float()
    whole = tuple(content.shape[-2:])
    shown = resize(content, _seen_size(whole, size)).to(device)
    shown = shown.contiguous(memory_format=torch.channels_last)
    if mask is not None:
        mask = resize(mask, tuple(shown.shape[-2:])).to(device)
    lower = PRECISIONS[precision]
    with torch.autocast(device.type, lower, enabled=lower != torch.float32):
        if branches:
            results = network.inspect(shown, alpha, mask, swap)._asdict()
        else:
            results = {"stylized": network(shown, alpha, mask, swap)}
    results = {k: resize(v.float(), whole).to(content.device) for k, v in results.items()}
    if not results["stylized"].isfinite().all():
        raise NotFinite(f"paints no numbers in {precision}; try --precision fp32 or train again")
    if keep_colors:
        painted = results.keys() - {"mask"}
        results |= {k: keep_chroma(results[k], content) for k in painted}
    return results


def _seen_size(whole: tuple[int, int], size: int | None) -> tuple[int, int]:
    """The size that is painted: the long side at `size`, the short one as long as is taken."""
    if size is None:
        return whole
    seen = long_side(whole, size)
    return seen if min(seen) >= SMALLEST_SIDE else short_side(whole, SMALLEST_SIDE)


def stylize_image(
    network: Painter,
    image: Image.Image,
    alpha: float = 0.0,
    mask: Image.Image | None = None,
    **options: object,
) -> Image.Image:
    """Stylize a Pillow image of any mode; options as of `stylize`.

    `mask`: white = foreground, or a cut-out whose transparent places are background.
    Returns an upright RGB image of the same size.
    """
    content = decode(image).pixels[None]
    region = None if mask is None else matte(decode(mask), tuple(content.shape[-2:]))
    return tensor_to_pil(stylize(network, content, alpha, region, **options)["stylized"][0])


def paint_picture(
    network: Painter, photo: Path, outputs: Outputs, known: Path, args: argparse.Namespace
) -> None:
    """Paint one photograph into its files. Raises PictureError where one of them is unusable."""
    if any(isinstance(alpha, AlphaCurve) for alpha in args.alpha):
        raise PictureError(f"{photo}: alpha can change over a video only, not in a picture")
    picture = read_picture(photo)
    say_first_alone(photo, picture)
    content = picture.pixels[None]
    size = tuple(content.shape[-2:])
    mask = None
    if args.mask:
        mask = read_mask(matte_of(args.mask, known), size)
        mask = 1 - mask if args.invert_mask else mask
    for number, alpha in enumerate(args.alpha):
        wanted = {f"{alpha:g}", *(BRANCHES if number == 0 else ())} & outputs.keys()
        if not wanted:  # painted by a call that was interrupted
            continue
        results = stylize(
            network,
            content,
            alpha,
            mask,
            swap=args.swap,
            keep_colors=args.keep_colors,
            size=args.size,
            # The branch images and the mask belong to the first alpha.
            branches=args.show_branches and number == 0,
            precision=args.precision,
        )
        results[f"{alpha:g}"] = results.pop("stylized")
        for name in wanted:
            pixels = results[name]
            kept = picture if name != "mask" else Picture(pixels[0])
            write_picture(outputs[name], replace(kept, pixels=pixels[0]))
