"""Pictures: Pillow images and files through a network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from PIL import Image
from torch import Tensor

from duostyle.inference.masks import MaskSource, open_mask
from duostyle.inference.render import (
    DEFAULTS,
    AlphaCurve,
    Output,
    Painter,
    Renderer,
    Result,
    StylizeKeywords,
    StylizeOptions,
    stylize,
)
from duostyle.io.images import (
    Picture,
    PictureError,
    decode,
    note_further_pictures,
    picture_to_mask,
    read_mask,
    read_picture,
    write_picture,
)
from duostyle.io.pixels import tensor_to_pil


def stylize_image(
    network: Painter,
    picture: Image.Image | str | Path,
    alpha: float = 0.0,
    mask: Image.Image | str | Path | None = None,
    *,
    options: StylizeOptions = DEFAULTS,
    **keywords: Unpack[StylizeKeywords],
) -> Image.Image:
    """Stylize a picture: a Pillow image of any mode, or a file.

    `alpha`: in [0, 1]; `mask`: white, or the opaque pixels of a cut-out, is foreground; `options`,
    or its fields as keywords: see `StylizeOptions`.
    Returns an upright RGB image of the picture's size.
    Raises PictureError if a file cannot be read, ValueError for a wrong alpha or option or a
    picture of less than 16 pixels, NotFinite if the result is not finite.
    """
    decoded = decode(picture) if isinstance(picture, Image.Image) else read_picture(Path(picture))
    content = decoded.pixels[None]
    size = (content.shape[-2], content.shape[-1])
    region: Tensor | None = None
    if isinstance(mask, Image.Image):
        region = picture_to_mask(decode(mask), size)
    elif mask is not None:
        region = read_mask(Path(mask), size)
    found = stylize(network, content, alpha, region, options=options, **keywords)
    return tensor_to_pil(found[Output.STYLIZED][0])


def stylize_image_to_files(
    network: Painter,
    photo: Path,
    outputs: Mapping[Result, Path],
    mask: MaskSource | None = None,
    options: StylizeOptions = DEFAULTS,
) -> list[Path]:
    """Stylize a picture file into one or several files; returns them in the order of writing.

    EXIF, color profile and transparency are kept. Raises as `stylize_image` does, and PictureError
    for a file that cannot be written and for an alpha that is a curve.
    """
    if any(isinstance(result.alpha, AlphaCurve) for result in outputs):
        raise PictureError(f"{photo}: alpha can change over a video only, not in a picture")
    picture = read_picture(photo)
    note_further_pictures(photo, picture)
    content = picture.pixels[None]
    region = open_mask(mask, (content.shape[-2], content.shape[-1])) if mask else None
    written = []
    for result, pixels in Renderer(network, outputs, options)(content, region):
        # A mask is no photograph: it has neither its metadata nor its transparency.
        metadata = picture if result.output != Output.MASK else Picture(pixels[0])
        write_picture(outputs[result], replace(metadata, pixels=pixels[0]))
        written.append(outputs[result])
    return written
