"""Controls without data change the weights as they say, whatever the forget set holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Examples, build_model, copied, differing, unchanged
from torch import nn

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import GaussianNoiseUnlearner, PruningUnlearner
from hf_invwnn.trainer.unlearner import Unlearner


Make = Callable[..., Unlearner]


@pytest.fixture
def make(tmp_path: Path, noisy: Examples) -> Make:
    def build(
        method: type[Unlearner], model: nn.Module, examples: Any = None, rounds: int = 3, **own: Any
    ) -> Unlearner:
        args = UnlearningArguments(
            str(tmp_path / "out"), num_rewinds=rounds, num_snapshots=2, snapshot_strategy="steps", use_cpu=True,
            report_to="none", disable_tqdm=True, save_strategy="no", seed=own.pop("seed", 0),
        )  # fmt: skip
        return method(model, args, noisy if examples is None else examples, **own)

    return build


def test_noise_is_in_units_of_the_deviation_of_each_tensor(make: Make, memorised_vit: nn.Module) -> None:
    """Three rounds of 0.1 are as much as one of 0.1 times the root of three."""
    before = copied(memorised_vit)
    make(GaussianNoiseUnlearner, memorised_vit, deviations=0.1).train()
    large = [name for name, value in before.items() if value.numel() >= 256]
    added = {name: memorised_vit.state_dict()[name] - before[name] for name in large}
    scaled = torch.cat([(added[name] / before[name].std(correction=0)).flatten() for name in large])
    # A tensor that was noised has a larger deviation, by half a percent a round; 1,000 numbers know theirs to 2 %.
    assert float(scaled.std()) == pytest.approx(0.1 * 3**0.5, rel=0.05)
    assert abs(float(scaled.mean())) < 4 * 0.1 * 3**0.5 / scaled.numel() ** 0.5


def test_pruning_sets_the_smallest_weights_to_zero(make: Make, memorised_vit: nn.Module) -> None:
    before = copied(memorised_vit)
    make(PruningUnlearner, memorised_vit, share=0.2).train()
    for name, parameter in memorised_vit.named_parameters():
        if parameter.dim() < 2:
            torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0)
            continue
        values, magnitudes = parameter.detach().numpy().ravel(), np.abs(before[name].numpy().ravel())
        count = magnitudes.size
        for _ in range(3):
            count -= round(0.2 * count)
        kept = np.sort(np.argsort(magnitudes, kind="stable")[magnitudes.size - count :])
        assert np.flatnonzero(values).tolist() == kept.tolist(), name
        assert np.array_equal(values[kept], before[name].numpy().ravel()[kept]), name


@pytest.mark.parametrize("method", [GaussianNoiseUnlearner, PruningUnlearner])
def test_the_examples_do_not_matter_and_the_seed_does(
    method: type[Unlearner], make: Make, memorised: dict[str, torch.Tensor], digits: Examples
) -> None:
    ends = []
    for examples, seed in ((None, 0), (digits.part(500, 540), 0), (None, 1)):
        model = build_model("vit")
        model.load_state_dict(memorised)
        make(method, model, examples, seed=seed).train()
        ends.append(copied(model))
    assert differing(ends[0], ends[1]) == [] and differing(ends[0], memorised)
    assert bool(differing(ends[0], ends[2])) == (method is GaussianNoiseUnlearner)


@pytest.mark.parametrize(
    ("method", "own", "message"),
    [
        (GaussianNoiseUnlearner, {"deviations": 0.0}, "`deviations` must be positive and finite, got 0.0"),
        (GaussianNoiseUnlearner, {"deviations": float("nan")}, "`deviations` must be positive and finite, got nan"),
        (PruningUnlearner, {"share": 0.0}, r"`share` .* must lie in \(0, 1\), got 0.0"),
        (PruningUnlearner, {"share": 1.0}, r"`share` .* must lie in \(0, 1\), got 1.0"),
    ],
)
def test_bad_amounts_are_refused(
    method: type[Unlearner], own: dict[str, float], message: str, make: Make, memorised_vit: nn.Module
) -> None:
    with unchanged(memorised_vit), pytest.raises(ValueError, match=message):
        make(method, memorised_vit, **own)
