"""Contact sheets: pictures in rows, a caption under each."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN, CAPTION = 12, 30  # pixels
PAPER, INK = (250, 249, 246), (40, 40, 40)

Cell = tuple[str, Image.Image]


def contact_sheet(rows: Sequence[Sequence[Cell]], height: int) -> Image.Image:
    """Rows of (caption, picture), every picture scaled to `height` pixels."""
    font = ImageFont.load_default(size=16)
    scaled = [[(caption, _to_height(image, height)) for caption, image in row] for row in rows]
    width = max(sum(image.width + MARGIN for _, image in row) for row in scaled) + MARGIN
    step = height + CAPTION + MARGIN
    sheet = Image.new("RGB", (width, step * len(rows) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(scaled):
        left, top = MARGIN, MARGIN + number * step
        for caption, image in row:
            sheet.paste(image, (left, top))
            draw.text((left, top + height + 6), caption, fill=INK, font=font)
            left += image.width + MARGIN
    return sheet


def _to_height(image: Image.Image, height: int) -> Image.Image:
    width = round(image.width * height / image.height)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
