"""How much is painted: exact at both ends, a crossfade in between."""

import numpy as np
import pytest
import torch
from PIL import Image

from duostyle.inference import Renderer, Result, StylizeOptions, stylize, stylize_image
from duostyle.models import StyleNetwork, apply_strength, check_strength, strength_map
from tests.test_video import Unpainted


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_both_ends_are_exact_and_the_middle_is_known() -> None:
    content, painted = noise(2, 3, 40, 57), noise(2, 3, 40, 57, seed=1)
    for value, wanted in ((0.0, content), (1.0, painted)):
        strength = torch.full((1, 1, 1, 1), value)
        assert torch.equal(apply_strength(content, painted, strength), wanted)
    gray, light = torch.full((1, 3, 32, 32), 0.2), torch.full((1, 3, 32, 32), 0.8)
    found = apply_strength(gray, light, torch.full((1, 1, 1, 1), 0.25))
    torch.testing.assert_close(found, torch.full_like(found, 0.35))


def test_the_strength_of_a_pixel_is_exact_where_the_mask_is_0_or_1() -> None:
    mask = torch.tensor([0.0, 1.0, 0.25]).view(1, 1, 1, 3)
    assert strength_map(mask, 1.0, 0.0).flatten().tolist() == [0.0, 1.0, 0.25]
    found = strength_map(mask, 0.3, 0.7).flatten()
    torch.testing.assert_close(found, torch.tensor([0.7, 0.3, 0.6]))
    assert found[:2].tolist() == torch.tensor([0.7, 0.3]).tolist()


def test_a_region_of_strength_0_is_the_photograph(network: StyleNetwork) -> None:
    pixels = (noise(48, 64, 3) * 255).byte().numpy()
    photo, mask = Image.fromarray(pixels), Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 30, 48))
    full = np.array(stylize_image(network, photo, 0.5, mask))
    for options in ({"strength": 0.0}, {"strength": 0.0, "size": 32, "keep_colors": True}):
        assert np.array_equal(stylize_image(network, photo, 0.5, mask, **options), pixels)
    kept = np.array(stylize_image(network, photo, 0.5, mask, background_strength=0.0))
    assert np.array_equal(kept[:, 30:], pixels[:, 30:])
    assert np.array_equal(kept[:, :30], full[:, :30])
    kept = np.array(stylize_image(network, photo, 0.5, mask, foreground_strength=0.0))
    assert np.array_equal(kept[:, :30], pixels[:, :30])
    assert np.array_equal(kept[:, 30:], full[:, 30:])
    assert not np.array_equal(full, pixels)


def test_strengths_are_multiplied_and_follow_the_learned_mask(network: StyleNetwork) -> None:
    content = noise(1, 3, 40, 56)
    view = stylize(network, content, 0.2, branches=True)
    found = stylize(network, content, 0.2, strength=0.5, foreground_strength=0.6)
    assert set(found) == {"stylized"}
    wanted = apply_strength(content, view["stylized"], strength_map(view["mask"], 0.3, 0.5))
    assert torch.equal(found["stylized"], wanted)
    same = stylize(network, content, 0.2, branches=True, strength=0.5, foreground_strength=0.6)
    assert torch.equal(same["stylized"], wanted)
    assert torch.equal(same["foreground"], view["foreground"])  # the branches are painted fully


def test_the_temporal_filter_leaves_the_photograph_alone() -> None:
    options = StylizeOptions(steady=0.9, strength=0.0)
    render = Renderer(Unpainted(), [Result(0.0)], options, temporal=True)
    for seed in range(3):
        content = 0.5 + 0.01 * noise(1, 3, 32, 32, seed=seed)
        ((_, shown),) = render(content)
        assert torch.equal(shown, content)


def test_a_wrong_strength_is_refused() -> None:
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"strength must lie in \[0, 1\]"):
            check_strength("strength", value)
        for name in ("strength", "foreground_strength", "background_strength"):
            with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\]"):
                StylizeOptions(**{name: value})
