"""The authors' Keras weights become an `InvWNNModel` that computes what they compute, or nothing at all."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import KERAS_KINDS
from reference import invwnn_residual

from hf_invwnn import InvWNNModel, convert_keras


# Keras' layer -> the reference's, as the authors' own code connects them.
REFERENCE_LAYERS = {
    "dense_1": "weight_stream.0",
    "dense_2": "weight_stream.2",
    "dense_3": "weight_stream.3.condition",
    "dense_4": "weight_stream.3.offset",
    "dense_5": "weight_stream.3.factor",
    "dense_6": "weight_stream.3.rate",
    "dense_7": "weight_stream.4",
    "dense_8": "difference_stream.0",
    "dense_9": "difference_stream.2",
    "dense_10": "difference_stream.3.condition",
    "dense_11": "difference_stream.3.offset",
    "dense_12": "difference_stream.3.factor",
    "dense_13": "difference_stream.3.rate",
    "dense_14": "difference_stream.4",
    "dense_15": "output",
}


def keras_weights(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        weights = {}
        for layer, name in REFERENCE_LAYERS.items():
            weights[f"{name}.weight"] = file[f"{layer}/{layer}/kernel:0"][()].T
            weights[f"{name}.bias"] = file[f"{layer}/{layer}/bias:0"][()]
    return weights


@pytest.mark.parametrize("kind", KERAS_KINDS)
def test_a_converted_network_computes_what_the_files_say(keras_files: dict[str, Path], kind: str) -> None:
    """Against the float64 evaluation of the very arrays in the file: layers, transposition, order in time, slope."""
    trajectory = np.random.default_rng(1).normal(0, 0.5, (500, 15)).astype(np.float32)
    expected = invwnn_residual(keras_weights(keras_files[kind]), trajectory)
    assert expected.std() > 0.05, "the residuals must differ for the comparison to mean something"
    model = convert_keras(**keras_files)
    assert model.dtype == torch.float32
    # In float64 as well, where nothing is left of the rounding that differs from one processor to another.
    with torch.no_grad():
        found = model.double()(torch.from_numpy(trajectory).double(), kind).residual
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_golden_parity_with_the_authors_weights(authors_predictor: Path | None) -> None:
    """The residuals that the authors' own Keras code gave for 4,096 trajectories of each kind, to 1e-6 in float32."""
    if authors_predictor is None:
        pytest.skip("the authors' weights carry no licence; INVWNN_AUTHORS_PREDICTOR names the folder that holds them")
    files = [authors_predictor / f"InvWNN_{name}.h5" for name in ("Conv", "FC", "Bias")]
    model = convert_keras(*files)
    golden = np.load(authors_predictor / "golden.npz")
    for name, kind in (("Conv", "conv"), ("FC", "linear"), ("Bias", "bias")):
        trajectory = torch.from_numpy(golden[f"{name}_traj"])
        assert trajectory.shape == (4096, 15)
        found = model.predict_residual(trajectory.T, kind)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), golden[f"{name}_residual"], rtol=0, atol=1e-6, err_msg=kind)


def test_a_converted_predictor_survives_saving(keras_files: dict[str, Path], tmp_path: Path) -> None:
    model = convert_keras(**keras_files)
    model.save_pretrained(tmp_path / "saved")
    loaded = InvWNNModel.from_pretrained(tmp_path / "saved")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_weights_inside_a_whole_keras_model_are_found(keras_files: dict[str, Path], tmp_path: Path) -> None:
    """`model.save` of Keras puts the layers below `model_weights`, `save_weights` at the top."""
    whole = tmp_path / "whole.h5"
    with h5py.File(keras_files["conv"], "r") as source, h5py.File(whole, "w") as target:
        for layer in source:
            source.copy(layer, target.require_group("model_weights"))
    plain, nested = convert_keras(**keras_files), convert_keras(**{**keras_files, "conv": whole})
    assert all(torch.equal(nested.state_dict()[name], value) for name, value in plain.state_dict().items())


def damage_missing(file: h5py.File) -> None:
    del file["dense_7/dense_7/kernel:0"]


def damage_extra(file: h5py.File) -> None:
    file["dense_16/dense_16/kernel:0"] = np.zeros((1, 1), dtype=np.float32)


def damage_shape(file: h5py.File) -> None:
    del file["dense_5/dense_5/kernel:0"]
    file["dense_5/dense_5/kernel:0"] = np.zeros((9, 128), dtype=np.float32)


def damage_transposed(file: h5py.File) -> None:
    value = file["dense_3/dense_3/kernel:0"][()]
    del file["dense_3/dense_3/kernel:0"]
    file["dense_3/dense_3/kernel:0"] = value.T


def damage_nan(file: h5py.File) -> None:
    file["dense_12/dense_12/bias:0"][5] = np.nan


@pytest.mark.parametrize("kind", KERAS_KINDS)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "dense_7/kernel is missing"),
        (damage_extra, "dense_16/kernel is unexpected"),
        (damage_shape, "dense_5/kernel has shape (9, 128), not (8, 128)"),
        (damage_transposed, "dense_3/kernel has shape (8, 128), not (128, 8)"),
        (damage_nan, "dense_12/bias is not finite"),
    ],
)
def test_a_file_with_a_wrong_weight_is_refused_by_name(
    keras_files: dict[str, Path], kind: str, damage: object, message: str
) -> None:
    with h5py.File(keras_files[kind], "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        convert_keras(**keras_files)
    assert str(keras_files[kind]) in str(refused.value), "the message must say which file"


def test_every_wrong_weight_is_named_at_once(keras_files: dict[str, Path]) -> None:
    with h5py.File(keras_files["linear"], "r+") as file:
        damage_missing(file)
        damage_nan(file)
    with pytest.raises(ValueError, match=r"dense_7/kernel is missing.*dense_12/bias is not finite"):
        convert_keras(**keras_files)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(keras_files: dict[str, Path], keep: float) -> None:
    whole = keras_files["bias"].read_bytes()
    keras_files["bias"].write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(ValueError, match=re.escape(f"`{keras_files['bias']}` is not a complete HDF5 file")):
        convert_keras(**keras_files)


def test_a_missing_file_is_refused_by_name(keras_files: dict[str, Path]) -> None:
    keras_files["linear"].unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"`linear`: there is no file `{keras_files['linear']}`")):
        convert_keras(**keras_files)


def test_another_number_of_snapshots_than_the_files_is_refused(keras_files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=re.escape("dense_1/kernel has shape (15, 128), not (10, 128)")):
        convert_keras(**keras_files, num_snapshots=10)
