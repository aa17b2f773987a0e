"""Contact sheets: rows of pictures with a caption under each."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN, CAPTION = 12, 30  # pixels
PAPER, INK = (250, 249, 246), (40, 40, 40)

Cell = tuple[str, Image.Image]


def contact_sheet(rows: Sequence[Sequence[Cell]], height: int, width: int = 1600) -> Image.Image:
    """Lay out rows of (caption, picture), every picture `height` pixels high.

    A row that would be wider than `width` pixels is scaled down to fit.
    """
    font = ImageFont.load_default(size=16)
    scaled = [_fit(row, height, width) for row in rows]
    needed = max(sum(image.width + MARGIN for _, image in row) for row in scaled) + MARGIN
    heights = [row[0][1].height + CAPTION + MARGIN for row in scaled]
    sheet = Image.new("RGB", (needed, sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(scaled):
        left, top = MARGIN, MARGIN + sum(heights[:number])
        for caption, image in row:
            sheet.paste(image, (left, top))
            text = _shortened(caption, font, image.width)
            draw.text((left, top + image.height + 6), text, fill=INK, font=font)
            left += image.width + MARGIN
    return sheet


def _shortened(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Truncate a caption to `width` pixels."""
    text = caption
    while font.getlength(text) > width and caption:
        caption = caption[:-1]
        text = caption.rstrip() + "…"
    return text


def _fit(row: Sequence[Cell], height: int, width: int) -> list[Cell]:
    """Scale a row's pictures to one height."""
    room = width - MARGIN * (len(row) + 1)
    whole = sum(image.width / image.height for _, image in row)
    height = max(min(height, int(room / whole)), 1)
    return [(caption, _to_height(image, height)) for caption, image in row]


def _to_height(image: Image.Image, height: int) -> Image.Image:
    width = max(round(image.width * height / image.height), 1)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
