"""Relearning counts the steps on retained examples after which the forget set is predicted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import Examples, build_model, unchanged
from torch import nn

from hf_invwnn.evaluation.relearning import relearn


@pytest.mark.slow
def test_relearning_trains_on_the_retain_set_and_evaluates_the_forget_set(
    memorised_vit: nn.Module, noisy: Examples, unseen: Examples, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 32, "use_cpu": True, "measure_steps": 1}
    folder, fresh = str(tmp_path), build_model("vit", seed=1)
    with unchanged(memorised_vit), unchanged(fresh):
        assert relearn(memorised_vit, noisy, unseen, folder, **options).steps == 0
        # A fresh model learns D_f if it is passed as D_r; from other examples it cannot learn wrong labels.
        learned = relearn(fresh, noisy, noisy, folder, level=0.5, **options)
        assert learned.steps is not None and 1 < learned.steps < 200 and learned.highest >= 50
        fewer = relearn(fresh, noisy, noisy, folder, level=0.5, **{**options, "max_steps": learned.steps - 1})
        assert fewer.steps is None and fewer.highest < 50
        other = relearn(fresh, noisy, unseen, folder, level=0.5, **{**options, "max_steps": learned.steps + 20})
        assert other.steps is None and other.highest < 50
    assert caplog.records == [], "how such a run ends is its result, not a warning"


@pytest.mark.parametrize(
    ("options", "match"),
    [({"level": 0.0}, "`level` must lie in"), ({"measure_steps": 501}, "`measure_steps` must lie")],
)
def test_bad_arguments_are_refused(noisy: Examples, tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        relearn(build_model("vit"), noisy, noisy, str(tmp_path), **options)
