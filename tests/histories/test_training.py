"""A predictor learns from histories what can be learned, is stopped by held-out windows, and is measured honestly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import TrainingArguments, set_seed

from hf_invwnn import InvWNNConfig, InvWNNModel, LinearPredictor
from hf_invwnn.histories import Windows, best_linear_scale, cosine, relative_l1, residuals_of, train_predictor
from hf_invwnn.histories.plan import RunSpec
from hf_invwnn.histories.rows import history_dataset
from hf_invwnn.histories.windows import _rows_of, windows_of
from hf_invwnn.predictor import PARAMETER_KINDS


def decay(kind: str, seed: int, count: int = 4000) -> Windows:
    """Weights that decay geometrically: the past follows from the trajectory, but not along the line."""
    generator = torch.Generator().manual_seed(seed)
    rate = 0.6 + 0.3 * torch.rand(count, 1, generator=generator)
    size = torch.randn(count, 1, generator=generator)
    values = size * rate ** torch.arange(-2.0, 5.0)
    ones = torch.ones(count)
    runs = np.array([f"run {number % 8}" for number in range(count)])
    families = np.array([f"family {number % 2}" for number in range(count)])
    return Windows(values[:, 2:], values[:, 0], ones, ones, kind, families, runs)


def arguments(tmp_path: Path, **options: object) -> TrainingArguments:
    defaults = {
        "output_dir": str(tmp_path),
        "num_train_epochs": 6,
        "per_device_train_batch_size": 128,
        "learning_rate": 3e-3,
        "lr_scheduler_type": "cosine",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return TrainingArguments(**{**defaults, **options})  # type: ignore[arg-type]


def small(scale: str = "weight") -> InvWNNModel:
    set_seed(0)
    return InvWNNModel(
        InvWNNConfig(num_snapshots=5, rewind_epochs=2, trajectory_scale=scale, residual_range=4.0, bias_penalty=0.0)
    )


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["weight", "tensor"])
def test_training_finds_what_the_line_cannot(tmp_path: Path, scale: str) -> None:
    model = train_predictor(small(scale), {kind: decay(kind, seed=0) for kind in PARAMETER_KINDS}, arguments(tmp_path))
    for kind in PARAMETER_KINDS:
        held_out = decay(kind, seed=1)
        line = LinearPredictor(best_linear_scale(decay(kind, seed=0)))
        residuals = {"ours": residuals_of(model, held_out), "line": residuals_of(line, held_out)}
        ours, straight = relative_l1(residuals, held_out)
        assert ours.value < 0.5 * straight.value < straight.value < 1
        assert ours.high < straight.low, "the intervals are apart"


def test_held_out_windows_end_the_training_and_choose_the_weights(tmp_path: Path) -> None:
    """Validation labels that contradict the training ones: the loss rises from the first epoch on."""
    training = {kind: decay(kind, seed=0, count=512) for kind in PARAMETER_KINDS}
    validation = {kind: decay(kind, seed=1, count=512) for kind in PARAMETER_KINDS}
    for windows in validation.values():
        windows.labels = 3 * windows.trajectory[:, 0] - 2 * windows.labels
    args = arguments(
        tmp_path,
        num_train_epochs=40,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
    )
    batches: list[int] = []

    class Counted(Windows):
        def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor | str]:
            batches.append(len(indices))
            return super().__getitems__(indices)

    counted = {kind: Counted(**vars(windows)) for kind, windows in training.items()}
    model = train_predictor(small(), counted, args, validation, patience=2)
    assert 3 * 4 <= len(batches) < 3 * 20 * 4, "none of the three kinds trained for its forty epochs of four batches"
    states = [json.loads(path.read_text()) for path in (tmp_path / "bias").glob("checkpoint-*/trainer_state.json")]
    last = max(states, key=lambda state: state["global_step"])
    losses = [line["eval_loss"] for line in last["log_history"] if "eval_loss" in line]
    assert min(losses) < losses[-1], "otherwise the last weights are the best ones"
    with torch.no_grad():
        found = model(validation["bias"].trajectory, "bias", validation["bias"].labels).loss
    assert float(found) == pytest.approx(min(losses), rel=1e-4)


def test_every_kind_must_have_windows(tmp_path: Path) -> None:
    windows = {kind: decay(kind, seed=0, count=8) for kind in PARAMETER_KINDS}
    with pytest.raises(ValueError, match=r"`windows` lacks the kinds \['bias'\]"):
        train_predictor(small(), {"conv": windows["conv"], "linear": windows["linear"]}, arguments(tmp_path))
    with pytest.raises(ValueError, match=r"`validation` lacks the kinds \['bias', 'conv', 'linear'\]"):
        train_predictor(small(), windows, arguments(tmp_path), validation={})


def test_windows_of_another_k_than_the_config_are_refused(tmp_path: Path) -> None:
    windows = {kind: decay(kind, seed=0, count=8) for kind in PARAMETER_KINDS}
    model = InvWNNModel(InvWNNConfig(num_snapshots=15))
    with pytest.raises(ValueError, match=r"trajectories of 5 snapshots for conv, but the config .* has K = 15"):
        train_predictor(model, windows, arguments(tmp_path))


# ---- Skill ----


def test_the_best_line_has_the_least_error_of_all_lines() -> None:
    windows = decay("conv", seed=0)
    best = best_linear_scale(windows)
    change = windows.labels - windows.trajectory[:, 0]
    displacement = windows.trajectory[:, -1] - windows.trajectory[:, 0]

    def error(scale: float) -> float:
        return float((change + scale * displacement).abs().mean())

    assert error(best) <= min(error(best + step) for step in (-0.1, -0.01, 0.01, 0.1))


def test_the_best_line_of_weights_that_never_moved_stays() -> None:
    windows = decay("conv", seed=0, count=8)
    windows.trajectory = windows.trajectory[:, :1].expand(-1, 5).contiguous()
    assert best_linear_scale(windows) == 0.0


def test_skill_of_what_is_known() -> None:
    """No change has relative error 1, the truth 0 and cosine 1, its opposite 2 and cosine -1."""
    windows = decay("conv", seed=0, count=64)
    truth = windows.labels - windows.trajectory[:, 0]
    residuals = {"nothing": torch.zeros(64), "truth": truth, "opposite": -truth}
    assert [skill.value for skill in relative_l1(residuals, windows)] == pytest.approx([1.0, 0.0, 2.0])
    assert [skill.value for skill in cosine(residuals, windows)] == pytest.approx([0.0, 1.0, -1.0])
    skill = relative_l1({"half": 0.5 * truth}, windows)[0]
    assert skill.families == {"family 0": pytest.approx(0.5), "family 1": pytest.approx(0.5)}
    assert skill.low == skill.high == pytest.approx(0.5)


def test_families_count_alike_whatever_their_size() -> None:
    windows = decay("conv", seed=0, count=64)
    windows.family = np.array(["small"] * 4 + ["large"] * 60)
    windows.run = windows.family
    truth = windows.labels - windows.trajectory[:, 0]
    said = torch.where(torch.arange(64) < 4, torch.zeros(64), truth)
    assert relative_l1({"said": said}, windows)[0].value == pytest.approx(0.5)


def test_a_predictor_is_asked_for_one_tensor_at_a_time() -> None:
    """One that scales by its tensor must not see two of them as one."""
    windows = decay("conv", seed=0, count=10)
    windows.tensor_scale = torch.tensor([1.0] * 4 + [2.0] * 6)
    sizes: list[int] = []

    class Spy(LinearPredictor):
        def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
            sizes.append(trajectory.shape[1])
            return super().predict_residual(trajectory, kind)

    assert len(residuals_of(Spy(), windows)) == 10 and sizes == [4, 6]


def test_a_training_that_diverges_is_an_error_and_no_predictor(tmp_path: Path) -> None:
    windows = {kind: decay(kind, seed=0, count=256) for kind in PARAMETER_KINDS}
    windows["linear"].trajectory[7, 2] = torch.nan
    with pytest.raises(FloatingPointError, match="linear weights diverged"):
        train_predictor(small(), windows, arguments(tmp_path, num_train_epochs=1))


def test_jitter_is_noise_on_all_but_the_oldest_snapshot_of_training_batches() -> None:
    windows = replace(decay("conv", seed=0), jitter=0.5)
    torch.manual_seed(0)
    batch: Any = windows.__getitems__(range(4000))
    noise = batch["trajectory"] - windows.trajectory
    assert not noise[:, 0].any()
    reach = (windows.trajectory - windows.trajectory[:, :1]).abs().amax(dim=1)
    relative = noise[:, 1:] / reach[:, None]
    assert relative.std().item() == pytest.approx(0.5, rel=0.03)
    assert abs(relative.mean().item()) < 0.02
    assert torch.equal(batch["labels"], windows.labels)


@pytest.mark.slow
def test_a_predictor_trained_on_noise_does_not_follow_two_snapshots(tmp_path: Path) -> None:
    """Where the first interval points elsewhere than the rest, it goes by the rest."""
    drift = torch.linspace(0, 1, 4).repeat(200, 1)
    kicked = torch.cat([torch.zeros(200, 1), drift - 0.5], dim=1)  # down at first, then up past where it began
    answers = []
    for jitter in (0.0, 1.0):
        set_seed(0)
        model = InvWNNModel(
            InvWNNConfig(
                num_snapshots=5,
                trajectory_scale="weight",
                residual_range=4.0,
                bias_penalty=0.0,
                training_jitter={"conv": jitter},
            )
        )
        windows = {kind: decay(kind, seed=0, count=1000) for kind in PARAMETER_KINDS}
        train_predictor(model, windows, arguments(tmp_path))
        answers.append(model.predict_residual(kicked.T, "conv").mean().item())
    assert answers[1] < answers[0], "the line through the whole goes up, so its past lies further down"


def test_histories_of_8000_snapshots_become_windows_and_train_a_predictor() -> None:
    """Also where the column has more values than the 32-bit offsets of one array can count."""
    generator = np.random.default_rng(0)
    length, weights = 8002, 50
    values = generator.normal(size=(weights, length)).cumsum(axis=1).astype(np.float32)
    chunk = pa.array(list(values))
    chunks = 5_500  # 2.2e9 values, all of them the same memory
    repeated = pa.chunked_array([chunk] * chunks)
    rows = np.concatenate([np.arange(25, 50), 50 * (chunks - 1) + np.arange(10)])
    read = _rows_of(repeated, rows)
    assert read is not None and read.dtype == np.float32
    np.testing.assert_array_equal(read, np.concatenate([values[25:], values[:10]]))
    assert _rows_of(pa.chunked_array([pa.array([[1.0, 2.0], [3.0]])]), np.arange(2)) is None

    spec, model = RunSpec("digits", "mlp"), torch.nn.Linear(weights, 1, bias=False)
    windows = windows_of(history_dataset(spec, model, {"weight": values}), "linear", 8000, 1, stride=1)
    assert windows.trajectory.shape == (2 * weights, 8000)
    torch.testing.assert_close(windows.trajectory[:weights], torch.from_numpy(values[:, 1:8001]), rtol=0, atol=0)
    predictor = InvWNNModel(InvWNNConfig(num_snapshots=8000, trajectory_scale="weight", hidden_size=8, stream_size=4))
    batch = windows.__getitems__(range(16))
    assert torch.isfinite(predictor(batch["trajectory"], "linear", batch["labels"]).loss)
