"""The network: two paintings' styles in one pass, as the design's figure draws it.

picture -> encoder -+-> style branch 1 -> f1
                    +-> style branch 2 -> f2
picture, small -> mask branch + edges from the encoder  -> m
m * f1 + (1 - m) * f2 -> decoder, styled at every place  -> stylized picture
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duostyle.models import tiling as large
from duostyle.models.config import NetworkConfig
from duostyle.models.context import HALO, STRIDE, Frame, Seen
from duostyle.models.interface import Inspection, check_inputs
from duostyle.models.layers import Moments, StyledOutput, StyledResidual, StyledUpsample, conv
from duostyle.models.mask import MaskBranch

STRIP_PIXELS = 4_000_000  # of the picture, decoded at a time
WHOLE_PIXELS = 12_000_000  # of larger pictures nothing is held as a whole in float32


class StyleNetwork(nn.Module):
    """Paint the foreground in style 1 and the background in style 2, blended by alpha."""

    at_once = 1  # frames of a file that are best painted together

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        w, styles = config.width, config.styles
        self.config = config
        # Channels at full, half and quarter size are w, 2 * w and 4 * w.
        self.encoder = nn.Sequential(
            conv(3, w, 9),
            nn.ReLU(),
            conv(w, 2 * w, 3, 2),
            nn.ReLU(),
            conv(2 * w, 4 * w, 3, 2),
            nn.ReLU(),
        )
        self.branch1, self.branch2 = (
            nn.ModuleList(StyledResidual(4 * w, styles) for _ in range(config.branch_blocks))
            for _ in range(2)
        )
        self.mask_branch = MaskBranch(config.mask_size, 4 * w, config.mask_stride)
        self.ups = nn.ModuleList(
            [StyledUpsample(4 * w, 2 * w, styles), StyledUpsample(2 * w, w, styles)]
        )
        self.to_rgb = StyledOutput(w, styles)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.to_rgb.conv.weight.device

    def forward(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
        surroundings: int = 0,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Stylize a batch of pictures in one pass.

        `content`: `(B, 3, H, W)`, RGB in [0, 1], `H, W >= 16`; `alpha`: a number or `(B,)` in
        [0, 1]; `mask`: `(B, 1, H, W)` in [0, 1], 1 = foreground, instead of the learned one;
        `swap`: the foreground in style 2 and the background in style 1; `surroundings`: pixels on
        each side of `content`, a multiple of 4, that are seen and not painted: what is returned is
        smaller by them (context around a training crop); `rows`: the two styles of each picture,
        `(B, 2)` int64, of a network with more than two.
        Returns `(B, 3, H, W)` in [0, 1]. Raises ValueError where a shape or alpha is off.
        """
        seen = self._look(content, alpha, mask, surroundings, rows)
        return seen.frame.cut(self.decode(seen, _style1(seen.region, swap)))

    def paint(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The blended picture and the mask that it is painted by, `(B, 1, H, W)`.

        Arguments and errors as for a plain call.
        """
        seen = self._look(content, alpha, mask)
        stylized = self.decode(seen, _style1(seen.region, swap))
        return seen.frame.cut(stylized), seen.frame.cut(seen.region)

    def inspect(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None = None,
        swap: bool = False,
    ) -> Inspection:
        """The blended picture together with both branch images and the mask.

        Arguments and errors as for a plain call.
        """
        seen = self._look(content, alpha, mask)
        everywhere = torch.ones_like(seen.region)
        outputs = (
            self.decode(seen, _style1(seen.region, swap)),
            self.decode(seen, _style1(everywhere, swap)),
            self.decode(seen, _style1(torch.zeros_like(seen.region), swap)),
            seen.region,
        )
        return Inspection(*map(seen.frame.cut, outputs))

    def mask_logits(self, content: Tensor) -> Tensor:
        """Foreground logits `(B, 1, H, W)` of the mask branch; the encoder takes no gradient."""
        frame, padded, _ = self._prepare(content, 0.0, None)
        with torch.no_grad():
            features = self.encoder(padded)
        return self._logits(content, frame, features)

    def branches(
        self, features: Tensor, share: Tensor, whole: bool = True, rows: Tensor | None = None
    ) -> list[Tensor]:
        """Encoder features `(B, 4 * width, h, w)` through the style blocks.

        `whole`: not in strips.
        """
        results = []
        for branch, weight in ((self.branch1, 1 - share), (self.branch2, share)):
            x = features
            for block in branch:
                if whole:
                    x = block(x, weight, rows)
                else:
                    x = large.residual(x, block.steps(weight, rows))
            results.append(x)
        return results

    def decode(self, seen: Seen, mask: Tensor) -> Tensor:
        """Merge the features by style 1's region and decode each place in its style.

        `mask`: where style 1 goes, in [0, 1], of `seen.region`'s size. Returns `(B, 3, 4h, 4w)` in
        [0, 1] for features `(B, 4 * width, h, w)`.

        Large pictures are decoded in strips where nothing learns; the strips overlap, and their
        norms share the statistics of the whole.
        """
        height, width = seen.first.shape[-2:]
        rows = max(STRIP_PIXELS // (STRIDE * STRIDE * width), 4 * HALO)
        learns = seen.first.requires_grad or torch.compiler.is_exporting()
        if learns or height <= rows + 2 * HALO:
            return self._decode(seen, mask)
        return large.decode(self._decode, len(self.ups) + 1, seen, mask, rows)

    def _decode(
        self,
        seen: Seen,
        mask: Tensor,
        moments: Sequence[Moments] | None = None,
        until: int | None = None,
    ) -> Tensor:
        """Paint; arguments as of `decode`.

        `moments`: statistics of the norms, in order, instead of the features' own; `until`: return
        the input of this norm, `(B, C, ...)`, instead of the picture.
        """
        cell = STRIDE
        first, second = (x.float() if x.dtype == torch.half else x for x in seen[:2])
        quarter = F.avg_pool2d(mask, cell).to(first.dtype)
        x = torch.lerp(second, first, quarter)
        for number, layer in enumerate([*self.ups, self.to_rgb]):
            x = layer.convolve(x)
            if number == until:
                return x
            cell = max(cell // 2, 1)
            place = F.avg_pool2d(mask, cell) if cell > 1 else mask
            weight = _first_style(place, seen.share)
            x = layer.finish(x, weight, seen.rows, moments[number] if moments else None)
        return x

    def _look(
        self,
        content: Tensor,
        alpha: Tensor | float,
        mask: Tensor | None,
        surroundings: int = 0,
        rows: Tensor | None = None,
    ) -> Seen:
        """Everything but the decoder, for the cells that have to be decoded."""
        frame, padded, share = self._prepare(content, alpha, mask)
        learns = torch.is_grad_enabled() or torch.compiler.is_exporting()
        whole = learns or content.shape[-2] * content.shape[-1] <= WHOLE_PIXELS
        features = self.encoder(padded) if whole else large.encode(self.encoder, padded)
        region = self._region(content, frame, features, mask)
        cells, frame = frame.shrink(surroundings).focus(*features.shape[-2:])
        first, second = self.branches(features, share, whole, rows)
        return Seen(first, second, region, share, rows, frame).part(cells)

    def _logits(self, content: Tensor, frame: Frame, features: Tensor) -> Tensor:
        """Return the mask branch's logits of the picture without its margins, `(B, 1, H, W)`."""
        padding = (0, -frame.width % STRIDE, 0, -frame.height % STRIDE)
        picture = content
        if torch.compiler.is_exporting() or any(padding):
            picture = F.pad(content, padding, mode="reflect")
        edges = frame.cells().cut(features).to(content.dtype)
        logits = self.mask_branch(picture, edges)
        # Enlarged before the sigmoid: the edge stays sharp.
        logits = F.interpolate(logits, scale_factor=STRIDE, mode="bilinear", align_corners=False)
        return logits[..., : frame.height, : frame.width]

    def _region(
        self, content: Tensor, frame: Frame, features: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the foreground, given or learned, `(B, 1, H, W)`, margins included."""
        height, width = (side * STRIDE for side in features.shape[-2:])
        if mask is not None:
            return frame.extend(mask.to(content), height, width)
        logits = self._logits(content, frame, features) + self.config.mask_bias
        region = torch.sigmoid(self.config.mask_gain * logits).to(content)
        return frame.extend(region, height, width)

    def _prepare(
        self, content: Tensor, alpha: Tensor | float, mask: Tensor | None
    ) -> tuple[Frame, Tensor, Tensor]:
        """Check, pad to whole strides, and turn alpha into the other style's share.

        Outside training there is a margin on every side, which is cut off: convolutions that
        reach over the border see mirrored content there, and paint what they like.
        """
        check_inputs(content, alpha, mask)
        batch = content.shape[0]
        alpha = torch.as_tensor(alpha, dtype=torch.float32, device=content.device).expand(batch)
        # Minimising |G - G1|^2 + alpha |G - G2|^2 gives G2 this share of the mixture.
        share = (alpha / (1 + alpha)).view(batch, 1, 1, 1)
        frame, padded = Frame.around(content, 0 if self.training else self.config.margin)
        return frame, padded, share


def _style1(mask: Tensor, swap: bool) -> Tensor:
    """Where style 1 goes."""
    return 1 - mask if swap else mask


def _first_style(mask: Tensor, share: Tensor) -> Tensor:
    """Weight of style 1 at every place: its own share inside the mask, the lent one outside."""
    return torch.lerp(share, 1 - share, mask)
