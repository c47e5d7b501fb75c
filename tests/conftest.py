"""Tiny models, digits, seeded predictors and a short way to an unlearner: no network, no torchvision."""

from __future__ import annotations

import gc
import os


os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so before everything else

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import KERAS_KINDS, KERAS_SHAPES, Examples, build_model, build_predictor, build_unlearner, with_noise
from sklearn.datasets import load_digits
from torch import nn

from hf_invwnn import InvWNNModel, InvWNNUnlearner


@pytest.fixture(autouse=True, scope="session")
def light() -> None:
    """
    One thread, for models of a few thousand weights gain nothing from more. And what the imports left in memory is no
    more looked through by the garbage collector, which `Trainer.train` calls each time (a third of a second).
    """
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()


# ---- Data ----


@pytest.fixture(scope="session")
def digits() -> Examples:
    """1,797 handwritten digits of one channel and 8 x 8 pixels in -1..1."""
    data = load_digits()
    pixels = torch.tensor(data.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
    return Examples(pixel_values=pixels, labels=torch.tensor(data.target))


@pytest.fixture(scope="session")
def texts() -> Examples:
    """The same digits as sequences of 16 token ids: how dark each patch of 2 x 2 pixels is, 1..17 (0 is padding)."""
    data = load_digits()
    patches = data.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    ids = torch.tensor(patches.round() + 1, dtype=torch.long)
    return Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor(data.target))


@pytest.fixture(scope="session")
def data_for(digits: Examples, texts: Examples) -> Callable[[str], Examples]:
    """The examples that an architecture takes."""
    return lambda architecture: texts if architecture == "bert" else digits


# ---- Models ----


@pytest.fixture
def vit() -> nn.Module:
    return build_model("vit")


@pytest.fixture
def resnet() -> nn.Module:
    return build_model("resnet")


@pytest.fixture
def bert() -> nn.Module:
    """With the dropout of a BERT, so that a run depends on the state of the random generator."""
    return build_model("bert")


@pytest.fixture(scope="session")
def memorised(digits: Examples) -> dict[str, torch.Tensor]:
    """
    Weights of the tiny ViT after training on the first 192 digits, 32 of them (0..31) with a wrong label. It is
    trained in float64: training amplifies the rounding of float32, which differs between processors, into another
    model.
    """
    model = build_model("vit").double().train()
    train = with_noise(digits).part(0, 192).columns
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        model(pixel_values=train["pixel_values"].double(), labels=train["labels"]).loss.backward()
        optimizer.step()
    return {name: value.float() for name, value in model.state_dict().items()}


@pytest.fixture
def noisy(digits: Examples) -> Examples:
    """What `memorised_vit` was trained to forget later: 32 digits with the wrong label."""
    return with_noise(digits).part(0, 32)


@pytest.fixture
def unseen(digits: Examples) -> Examples:
    return digits.part(1000, 1200)


@pytest.fixture
def memorised_vit(memorised: dict[str, torch.Tensor]) -> nn.Module:
    model = build_model("vit")
    model.load_state_dict(memorised)
    return model


# ---- Predictors ----


@pytest.fixture
def predictor() -> InvWNNModel:
    """An InvWNN of K = 4 as in the paper, on raw weights."""
    return build_predictor()


@pytest.fixture
def scale_free_predictor() -> InvWNNModel:
    return build_predictor(trajectory_scale="weight")


# ---- Unlearners ----


@pytest.fixture
def make_unlearner(tmp_path: Path) -> Callable[..., InvWNNUnlearner]:
    """`make_unlearner(model, forget_dataset, **options)`: [`build_unlearner`] with a folder of its own."""
    return lambda model, forget_dataset, **options: build_unlearner(
        model, forget_dataset, **{"output_dir": tmp_path / "out", **options}
    )


# ---- The authors' weights, and files in their layout ----


@pytest.fixture
def keras_files(tmp_path: Path) -> dict[str, Path]:
    """Three HDF5 files as Keras 2 writes them, one for each kind, with seeded weights of our own."""
    generator = np.random.default_rng(0)
    paths = {}
    for kind in KERAS_KINDS:
        paths[kind] = tmp_path / f"keras_{kind}.h5"
        with h5py.File(paths[kind], "w") as file:
            for layer in ("input_1", "leaky_re_lu_1", "concatenate_1"):
                file.create_group(layer)
            for layer, (size, width) in KERAS_SHAPES.items():
                kernel = generator.normal(0, size**-0.5, (size, width)).astype(np.float32)
                file[f"{layer}/{layer}/kernel:0"] = kernel
                file[f"{layer}/{layer}/bias:0"] = generator.normal(0, 0.1, width).astype(np.float32)
    return paths


@pytest.fixture(scope="session")
def authors_predictor() -> Path | None:
    """The folder with the authors' weights, which carry no licence and cannot ship: a variable, or `shared`."""
    named = os.environ.get("INVWNN_AUTHORS_PREDICTOR")
    if named:
        return Path(named)
    beside = Path(__file__).parents[2] / "shared" / "authors_predictor"
    return beside if beside.is_dir() else None
