"""Weight histories: what is recorded is what the weights were, and a predictor learns from it what can be learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments, set_seed

from hf_invwnn import InvWNNConfig, InvWNNModel, LinearPredictor
from hf_invwnn.histories import RunSpec, Windows, measure_skill, record_run, train_predictor, windows_of
from hf_invwnn.histories.models import SMALL_MODELS
from hf_invwnn.histories.training import best_linear_scale
from hf_invwnn.predictor import PARAMETER_KINDS


EPOCHS = 4


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(48, 1, 8, 8, generator=generator), torch.arange(48) % 3


@pytest.fixture(scope="module")
def histories(images: tuple[torch.Tensor, torch.Tensor]) -> Dataset:
    spec = RunSpec("noise", "cnn", "sgd", learning_rate=0.05, epochs=EPOCHS, batch_size=16)
    return record_run(spec, *images, weights_per_parameter=10)


def test_a_run_is_recorded_at_every_epoch_with_what_it_was(histories: Dataset) -> None:
    assert all(len(row) == EPOCHS + 1 for row in histories["history"])
    assert set(histories["kind"]) == {"conv", "linear", "bias"}
    assert set(histories["architecture"]) == {"cnn"} and set(histories["dataset"]) == {"noise"}
    names = [name for name, _ in SMALL_MODELS["cnn"](1, 8, 3).named_parameters()]
    assert sorted(set(histories["parameter"])) == sorted(names)
    assert max(Counter(histories["parameter"]).values()) == 10


def test_the_first_and_last_entries_are_the_weights_before_and_after_training(
    images: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """An MLP recorded whole: its histories must start at the seeded initialisation and must have moved."""
    spec = RunSpec("noise", "mlp", epochs=2, batch_size=16, seed=3)
    rows = record_run(spec, *images, weights_per_parameter=10**6).with_format("pandas")[:]
    set_seed(3)
    fresh = SMALL_MODELS["mlp"](1, 8, 3)
    for name, parameter in fresh.named_parameters():
        history = np.stack(rows[rows["parameter"] == name]["history"].to_list())
        np.testing.assert_array_equal(history[:, 0], parameter.detach().flatten().numpy())
        assert not np.array_equal(history[:, 0], history[:, -1])


def test_the_same_specification_records_the_same_histories(
    histories: Dataset, images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    spec = RunSpec("noise", "cnn", "sgd", learning_rate=0.05, epochs=EPOCHS, batch_size=16)
    again = record_run(spec, *images, weights_per_parameter=10)
    assert again["history"][:] == histories["history"][:]


def test_a_run_that_diverges_gives_no_rows(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    spec = RunSpec("noise", "mlp", "sgd", learning_rate=1e30, epochs=1, batch_size=16)
    assert len(record_run(spec, *images)) == 0


@pytest.mark.parametrize("architecture", sorted(SMALL_MODELS))
def test_every_architecture_takes_digits_and_gives_a_loss(architecture: str) -> None:
    model = SMALL_MODELS[architecture](1, 8, 10)
    outputs = model(pixel_values=torch.randn(2, 1, 8, 8), labels=torch.tensor([0, 9]))
    assert torch.isfinite(outputs["loss"]) and outputs["logits"].shape == (2, 10)


def test_windows_hold_the_trajectory_and_the_weight_before_it(histories: Dataset) -> None:
    windows = windows_of(histories, "linear", num_snapshots=3, rewind_epochs=2, stride=1, normalized=False)
    whole = np.stack(
        [row["history"] for row in histories if row["kind"] == "linear" and row["parameter"] == "layers.8.weight"]
    )
    assert len(windows) == len(whole)  # five epochs leave one window of 3 + 2
    np.testing.assert_array_equal(windows.trajectory.numpy(), whole[:, 2:])
    np.testing.assert_array_equal(windows.labels.numpy(), whole[:, 0])
    batch = windows.__getitems__([1, 0])
    assert torch.equal(batch["labels"], windows.labels[[1, 0]]) and batch["kind"] == "linear"


def test_normalized_windows_do_not_depend_on_the_scale_of_their_tensor(histories: Dataset) -> None:
    larger = histories.map(lambda row: {"history": [1000 * value for value in row["history"]]})
    one, other = (windows_of(data, "conv", num_snapshots=3, rewind_epochs=1) for data in (histories, larger))
    torch.testing.assert_close(one.trajectory, other.trajectory, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.remove_columns("kind"), r"lacks the columns \['kind'\]"),
        (lambda data: data.filter(lambda row: row["kind"] != "bias"), "no weights of the kind 'bias'"),
    ],
)
def test_histories_without_what_is_needed_are_refused(
    histories: Dataset, change: Callable[[Dataset], Dataset], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        windows_of(change(histories), "bias", num_snapshots=3, rewind_epochs=1)


def test_histories_shorter_than_k_plus_u_are_refused(histories: Dataset) -> None:
    with pytest.raises(ValueError, match=r"5 epochs, but K \+ U = 18"):
        windows_of(histories, "conv", num_snapshots=15, rewind_epochs=3)


@pytest.mark.parametrize(("name", "value"), [("architecture", "transformer"), ("label_noise", 1.0)])
def test_a_specification_that_cannot_run_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        RunSpec(**{"dataset": "digits", "architecture": "mlp", name: value})  # type: ignore[arg-type]


def _decay(kind: str, seed: int, count: int = 4000) -> Windows:
    """Weights that decay geometrically: the past follows from the trajectory, but not along the line."""
    generator = torch.Generator().manual_seed(seed)
    rate = 0.6 + 0.3 * torch.rand(count, 1, generator=generator)
    size = torch.randn(count, 1, generator=generator)
    values = size * rate ** torch.arange(-2.0, 5.0)
    return Windows(values[:, 2:], values[:, 0], kind, ["decay"] * count)


def test_training_finds_what_the_line_cannot(tmp_path: Path) -> None:
    """On decaying weights not trained on, a trained predictor must beat both no change and the best line."""
    torch.manual_seed(0)
    config = InvWNNConfig(
        num_snapshots=5, hidden_size=32, stream_size=16, trajectory_scale="weight", residual_range=4, bias_penalty=0
    )
    args = TrainingArguments(
        str(tmp_path),
        num_train_epochs=8,
        per_device_train_batch_size=64,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    model = train_predictor(InvWNNModel(config), {kind: _decay(kind, seed=0) for kind in PARAMETER_KINDS}, args)
    for kind in PARAMETER_KINDS:
        skill = measure_skill(model, _decay(kind, seed=0), _decay(kind, seed=1))
        assert skill.relative_error < 0.5 * skill.linear_relative_error < 0.5


def test_every_kind_must_have_windows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks the kinds \['bias', 'linear'\]"):
        train_predictor(InvWNNModel(InvWNNConfig()), {"conv": _decay("conv", 0)}, TrainingArguments(str(tmp_path)))


def test_the_best_line_has_the_least_error_of_all_lines() -> None:
    windows = _decay("conv", seed=2)
    change = windows.labels - windows.trajectory[:, 0]
    displacement = windows.trajectory[:, -1] - windows.trajectory[:, 0]

    def error(scale: float) -> float:
        return float((change + scale * displacement).abs().mean())

    best = best_linear_scale(windows)
    assert all(error(best) <= error(scale) + 1e-7 for scale in np.linspace(0, 5, 501))


def test_a_line_measured_as_a_predictor_agrees_with_the_line_beside_it() -> None:
    windows = _decay("bias", seed=3)
    skill = measure_skill(LinearPredictor(best_linear_scale(windows)), windows, windows)
    assert skill.relative_error == pytest.approx(skill.linear_relative_error, rel=1e-5)
