"""Weight histories: what is recorded is what the weights were, and a predictor learns from it what can be learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import set_seed

from hf_invwnn.histories import (
    ImageSource,
    RunSpec,
    counterfactual_windows,
    draw_plan,
    draw_subset,
    record_counterfactual,
    record_run,
    split_by_family,
    windows_of,
)
from hf_invwnn.histories.small_models import SMALL_MODELS


EPOCHS = 4
Images = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(48, 1, 8, 8, generator=generator), torch.arange(48) % 3


@pytest.fixture(scope="module")
def histories(images: Images) -> Dataset:
    spec = RunSpec("noise", "cnn", "sgd", learning_rate=0.05, epochs=EPOCHS, batch_size=16)
    return record_run(spec, *images, weights_per_parameter=10)


def test_a_run_is_recorded_at_every_epoch_with_what_it_was(histories: Dataset) -> None:
    assert all(len(row) == EPOCHS + 1 for row in histories["history"])
    assert set(histories["kind"]) == {"conv", "linear", "bias"}
    assert set(histories["architecture"]) == {"cnn"} and set(histories["dataset"]) == {"noise"}
    assert set(histories["run_type"]) == {"ordinary"} and set(histories["counterfactual"]) == {None}
    names = [name for name, _ in SMALL_MODELS["cnn"](1, 8, 3).named_parameters()]
    assert sorted(set(histories["parameter"])) == sorted(names)
    assert max(Counter(histories["parameter"]).values()) == 10


def test_the_first_and_last_entries_are_the_weights_before_and_after_training(images: Images) -> None:
    """An MLP recorded whole: its histories must start at the seeded initialisation and must have moved."""
    spec = RunSpec("noise", "mlp", epochs=2, batch_size=16, seed=3)
    rows = record_run(spec, *images, weights_per_parameter=10**6).with_format("pandas")[:]
    set_seed(3)
    fresh = SMALL_MODELS["mlp"](1, 8, 3)
    for name, parameter in fresh.named_parameters():
        history = np.stack(rows[rows["parameter"] == name]["history"].to_list())
        np.testing.assert_array_equal(history[:, 0], parameter.detach().flatten().numpy())
        assert not np.array_equal(history[:, 0], history[:, -1])


@pytest.mark.slow
@pytest.mark.parametrize("record", [record_run, record_counterfactual])
def test_the_same_specification_records_the_same_histories(images: Images, record: Callable[..., Dataset]) -> None:
    """With the dropout of a text encoder, too."""
    spec = RunSpec("noise", "text_encoder", epochs=2, batch_size=16)
    one, other = (record(spec, *images, weights_per_parameter=2) for _ in range(2))
    assert one["history"][:] == other["history"][:]
    assert one["counterfactual"][:] == other["counterfactual"][:]


@pytest.mark.parametrize("record", [record_run, record_counterfactual])
def test_a_run_that_diverges_gives_no_rows(images: Images, record: Callable[..., Dataset]) -> None:
    spec = RunSpec("noise", "mlp", "sgd", learning_rate=1e30, epochs=1, batch_size=16)
    assert len(record(spec, *images)) == 0


@pytest.mark.parametrize("architecture", sorted(SMALL_MODELS))
def test_every_architecture_takes_digits_and_gives_a_loss(architecture: str) -> None:
    model = SMALL_MODELS[architecture](1, 8, 10)
    outputs = model(pixel_values=torch.randn(2, 1, 8, 8), labels=torch.tensor([0, 9]))
    outputs["loss"].backward()
    assert torch.isfinite(outputs["loss"])
    assert outputs["logits"].shape == ((2, 1, 8, 8) if architecture == "unet" else (2, 10))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_and_schedule_trains(images: Images, optimizer: str, schedule: str) -> None:
    spec = RunSpec("noise", "mlp", optimizer, 1e-3, schedule, epochs=2, batch_size=16)
    history = np.array(record_run(spec, *images, weights_per_parameter=4)["history"][:])
    assert (np.abs(np.diff(history, axis=1)).sum(axis=0) > 0).all()


# ---- Counterfactual runs ----


def test_without_a_forget_set_that_differs_the_branches_are_one(images: Images) -> None:
    """The counterfactual answers for D_f alone: if D_f is left out of no batch, the branches end bitwise equal."""
    spec = RunSpec("noise", "mlp", "sgd", 0.05, epochs=5, batch_size=16, run_type="counterfactual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_invwnn.histories.recording.without_forget_set", lambda batches, retained: batches)
        rows = record_counterfactual(spec, *images, weights_per_parameter=6)
    np.testing.assert_array_equal(np.array(rows["history"][:])[:, 0], np.array(rows["counterfactual"][:]))


def test_a_counterfactual_run_moves_on_the_forget_set_alone(images: Images) -> None:
    """Trajectories of K values, and a twin that differs from their start."""
    spec = RunSpec("noise", "cnn", "sgd", 0.05, epochs=5, batch_size=16, run_type="counterfactual")
    rows = record_counterfactual(spec, *images, weights_per_parameter=6, num_snapshots=4)
    history, answers = np.array(rows["history"][:]), np.array(rows["counterfactual"][:])
    assert history.shape[1] == 4
    assert (history[:, 0] != history[:, -1]).mean() > 0.9
    assert (history[:, 0] != answers).mean() > 0.9
    windows = counterfactual_windows(rows, "conv", num_snapshots=4)
    conv = np.array(rows["kind"][:]) == "conv"
    np.testing.assert_array_equal(np.sort(windows.labels.numpy()), np.sort(answers[conv].astype(np.float32)))
    with pytest.raises(ValueError, match=r"trajectories of 4 snapshots in .*, but K is 15"):
        counterfactual_windows(rows, "conv", num_snapshots=15)


# ---- Plans and data ----


def test_a_plan_is_diverse_from_its_first_runs_on_and_always_the_same() -> None:
    plan = draw_plan({"digits": 10, "mnist": 10}, ordinary=2, counterfactual=1)
    assert plan == draw_plan({"digits": 10, "mnist": 10}, ordinary=2, counterfactual=1)
    assert plan != draw_plan({"digits": 10, "mnist": 10}, ordinary=2, counterfactual=1, seed=1)
    families = 2 * len(SMALL_MODELS)
    assert len(plan) == 3 * families == len({spec.run_id for spec in plan})
    assert len({spec.family for spec in plan[:families]}) == families
    for name in ("optimizer", "schedule", "label_noise"):
        assert len({getattr(spec, name) for spec in plan}) > 1


def test_a_subset_has_its_classes_its_size_and_its_noise() -> None:
    source = ImageSource.digits()
    spec = RunSpec("digits", "mlp", num_classes=4, examples=200, seed=5)
    pixels, labels = draw_subset(source, spec)
    assert len(pixels) == len(labels) == 200 and set(labels.tolist()) == {0, 1, 2, 3}
    noisy = draw_subset(source, RunSpec("digits", "mlp", num_classes=4, examples=200, seed=5, label_noise=0.5))
    assert torch.equal(noisy[0], pixels)
    assert 0.35 < float((noisy[1] != labels).float().mean()) < 0.65


def test_a_folder_of_images_is_averaged_down(tmp_path: Path) -> None:
    from datasets import ClassLabel, Features, Image

    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[:4] = 255
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
    Dataset.from_dict({"image": [picture, picture], "label": [0, 1]}, features=features).to_parquet(
        str(tmp_path / "train.parquet")
    )
    source = ImageSource.from_parquet(tmp_path, image_size=2)
    assert source.name == tmp_path.name and source.num_classes == 2
    torch.testing.assert_close(source.pixel_values[0, 0], torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    with pytest.raises(FileNotFoundError, match=r"no train\*\.parquet"):
        ImageSource.from_parquet(tmp_path / "none", image_size=2)


def test_images_of_the_hub_are_named_by_their_id_and_grey_ones_become_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from PIL import Image

    images = [Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("L", (4, 4), 255)]
    asked = []

    def load(repo_id: str, split: str) -> dict[str, list[object]]:
        asked.append((repo_id, split))
        return {"image": images, "label": [0, 1]}

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = ImageSource.from_hub("someone/tiny-images", image_size=2)
    assert asked == [("someone/tiny-images", "train")] and source.name == "tiny-images"
    assert source.pixel_values.shape == (2, 3, 2, 2)
    assert source.pixel_values[:, :, 0, 0].tolist() == [[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architecture", "transformer"),
        ("label_noise", 1.0),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("run_type", "other"),
        ("epochs", 0),
        ("learning_rate", 0.0),
    ],
)
def test_a_specification_that_cannot_run_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        RunSpec(**{"dataset": "digits", "architecture": "mlp", name: value})  # type: ignore[arg-type]


# ---- Windows and families ----


def test_windows_hold_the_trajectory_and_the_weight_before_it(histories: Dataset) -> None:
    windows = windows_of(histories, "linear", num_snapshots=3, rewind_epochs=2, stride=1)
    whole = np.stack(
        [row["history"] for row in histories if row["kind"] == "linear" and row["parameter"] == "layers.8.weight"]
    )
    assert len(windows) == len(whole)  # five epochs leave one window of 3 + 2
    np.testing.assert_array_equal(windows.trajectory.numpy(), whole[:, 2:])
    np.testing.assert_array_equal(windows.labels.numpy(), whole[:, 0])
    unit = np.sqrt(np.mean((whole[:, 4] - whole[:, 2]) ** 2 + (whole[:, 2] - whole[:, 0]) ** 2))
    np.testing.assert_allclose(windows.unit.numpy(), unit, rtol=1e-5)
    batch = windows.__getitems__([1, 0])
    torch.testing.assert_close(batch["labels"], windows.labels[[1, 0]] / windows.unit[[1, 0]])
    windows.normalized = False
    assert torch.equal(windows.__getitems__([1, 0])["labels"], windows.labels[[1, 0]])
    assert set(windows.family) == {"cnn x noise"} and len(set(windows.run)) == 1


def test_batches_do_not_depend_on_the_scale_of_their_tensor(histories: Dataset) -> None:
    larger = histories.map(lambda row: {"history": [1000 * value for value in row["history"]]})
    one, other = (windows_of(data, "conv", num_snapshots=3, rewind_epochs=1) for data in (histories, larger))
    for name in ("trajectory", "labels", "unit"):
        first, second = (windows.__getitems__(range(len(windows)))[name] for windows in (one, other))
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_no_family_has_more_windows_than_asked_for(histories: Dataset) -> None:
    windows = windows_of(histories, "conv", num_snapshots=2, rewind_epochs=1, stride=1)
    assert len(windows.at_most(7)) == 7 < len(windows) == len(windows.at_most(10**6))
    drawn = windows_of(histories, "conv", num_snapshots=2, rewind_epochs=1, stride=1, per_family=7, seed=3)
    for name in ("trajectory", "labels", "unit", "tensor_scale"):
        assert torch.equal(getattr(drawn, name), getattr(windows.at_most(7, seed=3), name))
    assert drawn.run.tolist() == windows.at_most(7, seed=3).run.tolist()
    with pytest.raises(ValueError, match="`per_family` must be positive, got 0"):
        windows_of(histories, "conv", num_snapshots=2, rewind_epochs=1, per_family=0)


def test_a_run_that_is_not_finite_is_left_out_with_a_warning(
    histories: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    from datasets import concatenate_datasets
    from transformers.utils import logging

    def broken(row: dict) -> dict:
        return {"history": [float("nan"), *row["history"][1:]], "run_id": "broken"}

    both = concatenate_datasets([histories, histories.map(broken)])
    logging.get_logger("hf_invwnn").parent.propagate = True  # type: ignore[union-attr]
    with caplog.at_level("WARNING"):
        windows = windows_of(both, "conv", num_snapshots=3, rewind_epochs=1)
    assert "broken" not in set(windows.run) and len(windows) > 0
    assert "1 runs have weights of kind conv that are not finite" in caplog.text


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
    with pytest.raises(ValueError, match=r"5 epochs in .*, but K \+ U = 18"):
        windows_of(histories, "conv", num_snapshots=15, rewind_epochs=3)


FAMILIES = Dataset.from_dict(
    {"architecture": ["vit", "vit", "cnn", "cnn"], "dataset": ["digits", "mnist", "digits", "mnist"]}
)


def test_families_are_parted_by_pattern() -> None:
    parts = split_by_family(FAMILIES, validation=["cnn x digits"], test=["vit x *"])
    assert {name: len(part) for name, part in parts.items()} == {"train": 1, "validation": 1, "test": 2}
    assert set(parts["test"]["architecture"]) == {"vit"}


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        (["resnet x *"], ["vit x *"], r"`validation` has 'resnet x \*', which fits none of the families"),
        (["cnn x *"], ["vit x *"], r"leave no family for \['train'\]"),
        (["vit x *"], ["vit x *"], r"leave no family for \['validation'\]"),
    ],
)
def test_families_that_leave_a_part_empty_are_refused(validation: list[str], test: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_family(FAMILIES, validation, test)
