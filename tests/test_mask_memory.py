"""The memory of the mask: doubt does not flip, motion is followed, a cut starts again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from duostyle.cli import paint
from duostyle.export.graph import GraphSignature
from duostyle.inference import Renderer, Result, StylizeOptions
from duostyle.inference.engine import GraphEngine, Run
from duostyle.inference.mask_memory import MaskMemory, motion
from duostyle.inference.render import Output
from duostyle.models import StyleNetwork


def scene(seed: int = 0, height: int = 96, width: int = 128) -> Tensor:
    """A smooth random picture `(1, 3, H, W)` in [0, 1]."""
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def mask(value: float) -> Tensor:
    return torch.full((1, 1, 96, 128), value)


def test_a_mask_in_doubt_does_not_flip() -> None:
    memory, content = MaskMemory(0.8), scene()
    assert torch.equal(memory(content, mask(0.7)), mask(0.7))
    torch.testing.assert_close(memory(content, mask(0.3)), mask(0.62))  # 0.2 * 0.3 + 0.8 * 0.7
    torch.testing.assert_close(memory(content, mask(0.7)), mask(0.636))
    together = MaskMemory(0.8)(content.expand(3, -1, -1, -1), torch.tensor([0.7, 0.3, 0.7])
                               .view(3, 1, 1, 1).expand(-1, -1, 96, 128))  # fmt: skip
    torch.testing.assert_close(together[:, 0, 40, 60], torch.tensor([0.7, 0.62, 0.636]))


def test_motion_is_measured_in_pixels() -> None:
    wide = scene(width=160).mean(dim=1, keepdim=True)
    flow = motion(wide[..., 6:134], wide[..., :128])  # everything moves 6 px to the right
    inner = flow[0, :, 16:-16, 16:-16]
    torch.testing.assert_close(inner[0], torch.full_like(inner[0], -6), atol=0.75, rtol=0)
    torch.testing.assert_close(inner[1], torch.zeros_like(inner[1]), atol=0.75, rtol=0)


def test_the_mask_of_a_moving_object_follows() -> None:
    memory, background, thing = MaskMemory(0.75), scene(1), scene(2)[..., :40, :40]
    for step in range(6):
        content, learned = background.clone(), mask(0.0)
        place = (..., slice(30, 70), slice(20 + 5 * step, 60 + 5 * step))
        content[place], learned[place] = thing, 1.0
        found = memory(content, learned)
        # Without motion: 0.098 and 0.065; what is left is the boundary.
        assert (found - learned).abs().mean() < 0.03
        assert ((found > 0.5) != (learned > 0.5)).float().mean() < 0.03
    # The object is not found in one frame: its last mask has moved along with it.
    place = (..., slice(30, 70), slice(50, 90))
    content = background.clone()
    content[place] = thing
    found = memory(content, mask(0.0))
    assert found[..., 40:60, 60:80].mean() == pytest.approx(0.75, abs=0.02)
    assert found[..., 40:60, :30].mean() < 0.05


def test_a_cut_and_another_size_start_again() -> None:
    memory = MaskMemory(0.9)
    memory(scene(), mask(0.9))
    assert torch.equal(memory(1 - scene(), mask(0.1)), mask(0.1))
    small = torch.full((1, 1, 48, 64), 0.7)
    assert torch.equal(memory(scene(height=48, width=64), small), small)


def test_strength_is_checked_and_0_is_off() -> None:
    for strength in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"steady_mask must lie in \[0, 1\)"):
            StylizeOptions(steady_mask=strength)
    parse = paint.parser().parse_args
    assert [parse(["a.mp4", *more]).steady_mask for more in ([], ["--steady-mask", "0.5"])] == [
        0.75,
        0.5,
    ]
    with pytest.raises(SystemExit):
        parse(["a.mp4", "--steady-mask", "1"])
    memory = MaskMemory(0.0)
    memory(scene(), mask(0.7))
    assert torch.equal(memory(scene(), mask(0.3)), mask(0.3))


@pytest.mark.parametrize("size", [None, 64])
def test_frames_are_painted_with_the_steadied_mask(network: StyleNetwork, size: int | None) -> None:
    options = StylizeOptions(steady=0.0, steady_mask=0.8, size=size, foreground_strength=0.5)
    frames = torch.cat([scene(), 0.97 * scene()])
    results = [Result(0.2), Result(0.2, Output.MASK), Result(0.7, Output.MASK)]
    found = dict(Renderer(network, results, options, temporal=True)(frames))
    off = dict(Renderer(network, results, options)(frames))  # pictures: no memory
    assert torch.equal(found[results[1]], found[results[2]])
    assert torch.equal(found[results[1]][:1], off[results[1]][:1])
    assert not torch.equal(found[results[1]][1:], off[results[1]][1:])
    if size is None:
        memory = MaskMemory(0.8)
        wanted = memory(frames, network.encode(frames).mask)
        torch.testing.assert_close(found[results[1]], wanted)
        given = dict(Renderer(network, results, options, temporal=True)(frames, wanted))
        torch.testing.assert_close(found[results[0]], given[results[0]])
        assert torch.equal(given[results[1]], wanted)  # given masks are not changed


class EagerEngine(GraphEngine):
    """A graph engine whose graphs are not exported: PyTorch runs what they would hold."""

    def _run(self, signature: GraphSignature, size: tuple[int, int]) -> Run:
        def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            self.signatures.append(signature)
            given = dict(zip(signature.inputs(), map(torch.from_numpy, arrays), strict=True))
            return [value.numpy() for value in signature.run(self.network, **given)]

        return run


def test_an_engine_steadies_as_the_network_does(network: StyleNetwork, tmp_path: Path) -> None:
    engine = EagerEngine(network, "onnx", "fp32", tmp_path)
    engine.signatures = []
    options = StylizeOptions(steady=0.0, steady_mask=0.8)
    frames, result = torch.cat([scene(), 0.97 * scene()]), Result(0.2)
    ours, theirs = (
        dict(Renderer(painter, [result], options, temporal=True)(frames))[result]
        for painter in (network, engine)
    )
    torch.testing.assert_close(ours, theirs)
    # The mask branch runs once: the graph that paints takes the mask.
    assert engine.signatures == [GraphSignature(mask_only=True), GraphSignature(mask_input=True)]
