"""The network: two styles in one pass.

content -> mask branch -> mask m                              encode: does not depend on alpha
content -> reduce -> first convolution -> features
                                        - - - - - - - - - - - - - - - - - - - - - - - - - - -
       features -> style branch 1 -> I1                       decode: depends on alpha
       features -> style branch 2 -> I2
m * I1 + (1 - m) * I2 -> Kuwahara upsampling -> stylized picture
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.models import tiling
from duostyle.models.config import NetworkConfig
from duostyle.models.hub import CheckpointHubMixin
from duostyle.models.kuwahara import KuwaharaUpsample
from duostyle.models.layers import (
    StyleBranch,
    conv,
    resize_half_pixel,
)
from duostyle.models.mask import MaskBranch
from duostyle.models.tiling import STRIDE, Apply, CropBox, choose_tiling, pad, to_stride

SMALLEST_SIDE = 16  # pixels


class Inspection(NamedTuple):
    """The stylized picture, both branch images and the mask: the content's size, in [0, 1]."""

    stylized: Tensor  # (B, 3, H, W), the blended picture I
    foreground: Tensor  # (B, 3, H, W), the whole picture in the foreground's style, I1
    background: Tensor  # (B, 3, H, W), the whole picture in the background's style, I2
    mask: Tensor  # (B, 1, H, W), 1 = foreground


def check_content(content: Tensor, mask: Tensor | None = None) -> None:
    """Raise ValueError unless content and mask have the shapes and types that networks take."""
    if content.dim() != 4 or content.shape[1] != 3 or not content.is_floating_point():
        raise ValueError(
            f"content must be a float tensor (B, 3, H, W) in [0, 1], not {_describe(content)}"
        )
    if min(content.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"content is {content.shape[-1]}x{content.shape[-2]} pixels; "
            f"the smallest side taken is {SMALLEST_SIDE}"
        )
    if mask is not None and mask.shape != (content.shape[0], 1, *content.shape[-2:]):
        raise ValueError(f"mask must be (B, 1, H, W) of the content's size, not {_describe(mask)}")


def check_alpha(alpha: Tensor | float, batch: int = 1) -> None:
    """Raise ValueError unless alpha is in [0, 1]: a number, or one for each picture of a batch."""
    if isinstance(alpha, Tensor) and not (
        alpha.dim() == 0 or (alpha.dim() == 1 and alpha.shape[0] in (1, batch))
    ):
        raise ValueError(f"alpha must be a number or (B,), not {tuple(alpha.shape)}")
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return  # values are unknown while a graph is traced
    values = torch.as_tensor(alpha)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")


def other_style_weight(alpha: Tensor) -> Tensor:
    """Return the weight alpha / (1 + alpha) of the other style in each region's mixture.

    It minimizes `|G - G1|^2 + alpha * |G - G2|^2` over Gram matrices G: 0 for each region in its
    own style, 1/2 for an even mixture everywhere.
    """
    return alpha / (1 + alpha)


def _describe(x: Tensor) -> str:
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "")


class Encoded(NamedTuple):
    """What does not depend on alpha: one for all alphas, swaps and branch images of a picture."""

    features: Tensor  # (B, channels, h, w), first convolution of the reduced and padded picture
    mask: Tensor  # (B, 1, H, W) in [0, 1], given or learned, 1 = foreground
    content: CropBox  # where the reduced content lies in the padded picture
    context: int  # pixels on each side of the content that are not returned
    styles: Tensor | None = None  # (B, 2), indices of the two styles; None for 0 and 1
    tiled: bool = False  # `features` is the picture itself: too large for a convolution as a whole


class Styled(NamedTuple):
    """What both style branches make of the reduced picture, before the sigmoid."""

    first: Tensor  # (B, 3, h, w), style branch 1
    second: Tensor  # (B, 3, h, w), style branch 2


class StyleNetwork(
    nn.Module,
    CheckpointHubMixin,
    library_name="duostyle",
    pipeline_tag="image-to-image",
    license="mit",
    tags=["style-transfer"],
):
    """Stylize the foreground in style 1 and the background in style 2, blended by alpha."""

    default_batch_size = 1  # frames of a video in one forward pass

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c, w, styles = config.channels, config.width, config.styles
        self.config = config
        self.header: dict[str, Any] = {}  # of the checkpoint that it was loaded from
        self.mask_branch = MaskBranch(config.mask_size, config.edge_width, config.mask_stride)
        self.stem = conv(3, c, 9)
        self.branch1, self.branch2 = (
            StyleBranch(c, config.branch_blocks, w, styles) for _ in range(2)
        )
        self.enlarge = None
        if config.radius:
            self.enlarge = KuwaharaUpsample(config.radius, enlarges=config.scale < 1)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.stem.weight.device

    def encode(
        self,
        content: Tensor,
        mask: Tensor | None = None,
        context: int = 0,
        styles: Tensor | None = None,
    ) -> Encoded:
        """Compute everything that does not depend on alpha: mask branch and first convolution.

        `content`: `(B, 3, H, W)`, RGB in [0, 1], `H, W >= 16`; `mask`: `(B, 1, H, W)` in [0, 1],
        1 = foreground, instead of the learned one; `context`: pixels on each side of `content`, a
        multiple of 4, that are read and not returned (around a training crop); `styles`: indices of
        the two styles of each picture, `(B, 2)` int64, for a network with more than two.
        Raises ValueError for wrong shapes or types.
        """
        check_content(content, mask)
        padded, box = self._pad(self.reduce(content))
        CropBox(*content.shape[-2:]).shrink(context)  # raises ValueError if nothing is left
        if mask is None:
            logits = self._mask_logits(content, box, padded) + self.config.mask_bias
            mask = torch.sigmoid(self.config.mask_gain * logits)
        tiled = self._tiling(padded, tiling.BRANCH_PIXELS) is not tiling.WHOLE
        features = padded if tiled else self.stem(padded)
        return Encoded(features, mask.to(content), box, context, styles, tiled)

    def change_mask(self, encoded: Encoded, change: Callable[[Tensor], Tensor]) -> Encoded:
        """Replace the mask, given or learned, by what `change` makes of it, of the same shape."""
        return encoded._replace(mask=change(encoded.mask))

    def decode(self, encoded: Encoded, alpha: Tensor | float, swap: bool = False) -> Tensor:
        """Stylize an encoded picture: style branches, merge by the mask, last layer.

        `alpha`: a number or `(B,)` in [0, 1]; `swap`: exchange the two styles.
        Returns `(B, 3, H, W)` in [0, 1], without the context. Raises ValueError for a wrong alpha.
        """
        return self._render(encoded, self._stylize(encoded, alpha), encoded.mask, swap)

    def decode_with_mask(
        self, encoded: Encoded, alpha: Tensor | float, swap: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the stylized picture and the mask; arguments and errors as for `decode`."""
        return self.decode(encoded, alpha, swap), encoded.mask

    def decode_all(self, encoded: Encoded, alpha: Tensor | float, swap: bool = False) -> Inspection:
        """Return the stylized picture together with both branch images and the mask.

        Arguments and errors as for `decode`. The style branches run once.
        """
        styled, ones = self._stylize(encoded, alpha), torch.ones_like(encoded.mask)
        return Inspection(
            self._render(encoded, styled, encoded.mask, swap),
            self._render(encoded, styled, ones, swap),
            self._render(encoded, styled, 1 - ones, swap),
            encoded.mask,
        )

    def forward(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
        context: int = 0,
        styles: Tensor | None = None,
    ) -> Tensor:
        """Stylize a batch of pictures in one pass.

        Arguments, result and errors as for `encode` and `decode`.
        """
        return self.decode(self.encode(content, mask, context, styles), alpha, swap)

    def inspect(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> Inspection:
        """Return the stylized picture, both branch images and the mask; arguments as above."""
        return self.decode_all(self.encode(content, mask), alpha, swap)

    def mask_logits(self, content: Tensor) -> Tensor:
        """Return the mask branch's foreground logits `(B, 1, H, W)`."""
        check_content(content)
        padded, box = self._pad(self.reduce(content))
        return self._mask_logits(content, box, padded)

    def _scale(self) -> float:
        return 1.0 if self.training else self.config.scale

    def reduce(self, x: Tensor) -> Tensor:
        """Reduce a picture or mask `(B, C, H, W)` to the scale at which it is stylized.

        In training it is stylized at full size, without the last layer.
        """
        scale = self._scale()
        if scale == 1:
            return x
        # torch.sym_*: an exported graph computes the sides of any picture.
        size = [
            torch.sym_max(torch.sym_int(side * scale + 0.5), SMALLEST_SIDE) for side in x.shape[-2:]
        ]
        return resize_half_pixel(x, cast(list[int], size))

    def _pad(self, content: Tensor) -> tuple[Tensor, CropBox]:
        """Pad to multiples of STRIDE; outside training also by a margin, which is cropped again.

        Convolutions that reach over the border then read reflected content, not padding.
        """
        return pad(content, 0 if self.training else self.config.margin)

    def _tiling(self, padded: Tensor, limit: int) -> Apply:
        """Choose how layers are applied to a padded picture; `limit`: as for `choose_tiling`."""
        height, width = (side // STRIDE for side in padded.shape[-2:])
        return choose_tiling(self, height, width, limit)

    def _mask_logits(self, content: Tensor, box: CropBox, padded: Tensor) -> Tensor:
        """Run the mask branch on the content, with edges from the reduced and padded content.

        `box`: the reduced content; its cells may reach over its right and lower border, and the
        content is padded to the same area.
        """
        edges, _ = self._tiling(padded, tiling.WHOLE_PIXELS)(self.mask_branch.edges, padded)
        scale, (height, width) = self._scale(), content.shape[-2:]
        right, below = (
            torch.sym_int(to_stride(side) / scale + 0.5) for side in (box.width, box.height)
        )
        picture = content
        if torch.compiler.is_exporting() or right or below:
            picture = F.pad(content, (0, right, 0, below), mode="reflect")
        logits = self.mask_branch(picture, box.cells().cut(edges).to(content.dtype))
        # Interpolated before the sigmoid: edges stay sharp.
        logits = resize_half_pixel(logits, cast(list[int], [height + below, width + right]))
        return logits[..., :height, :width]

    def _stylize(self, encoded: Encoded, alpha: Tensor | float) -> Styled:
        """Run both style branches on the picture, and crop what they make to the content."""
        x, batch = encoded.features, encoded.features.shape[0]
        check_alpha(alpha, batch)
        alpha = torch.as_tensor(alpha, dtype=torch.float32, device=x.device)
        share = other_style_weight(alpha.expand(batch)).view(batch, 1, 1, 1)
        apply: Apply = tiling.WHOLE
        stem: nn.Module = nn.Identity()
        if encoded.tiled:
            apply, stem = self._tiling(x, tiling.BRANCH_PIXELS), self.stem
        own = encoded.content
        if self._last_layer() is None:
            own = own.shrink(encoded.context)
        height, width = (side // STRIDE for side in x.shape[-2:])
        cells, inner = own.decoder_region(height, width)
        decode = choose_tiling(self, cells.height, cells.width, tiling.DECODED_PIXELS)
        pictures = []
        for branch, weight in ((self.branch1, 1 - share), (self.branch2, share)):
            features = cells.cut(branch.transform(x, stem, weight, encoded.styles, apply))
            pictures.append(inner.cut(branch.decode(features, weight, encoded.styles, decode)))
        return Styled(*pictures)

    def _last_layer(self) -> nn.Module | None:
        """Return the layer that enlarges the merged picture; none in training."""
        return None if self.training else self.enlarge

    def _render(self, encoded: Encoded, styled: Styled, mask: Tensor, swap: bool) -> Tensor:
        """Merge both branches' pictures by a mask, and enlarge the result.

        `mask`: `(B, 1, H, W)` of the content's size, 1 = foreground.
        Returns `(B, 3, ...)` in [0, 1]: the content without its context.
        """
        size, context, enlarge = CropBox(*mask.shape[-2:]), encoded.context, self._last_layer()
        weight1 = self.reduce(mask)
        if enlarge is None:
            weight1 = size.shrink(context).cut(weight1)
        picture = merge(styled.first, styled.second, 1 - weight1 if swap else weight1)
        if enlarge is None:
            return picture
        picture = enlarge(picture, size.height, size.width)
        return size.shrink(context).cut(picture) if context else picture


def merge(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Merge two pictures before the sigmoid by a mask `(B, 1, H, W)`, and apply the sigmoid."""
    return torch.sigmoid(torch.lerp(second, first, mask.to(second.dtype)))
