"""A finished run and its splits, whose forget examples carry a mark that tests can search for."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from helpers import build_unlearner
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.evaluation import save_run
from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.scenarios import UnlearningSplits


MARK = "MARKED-photo-of-alice"
FORGET = (3, 17, 29, 41, 58, 62, 71, 77, 84, 90, 103, 118)


@pytest.fixture(scope="session")
def marked_splits() -> UnlearningSplits:
    """120 training digits with file names; the file names of the forget set contain `MARK`."""
    digits = load_digits()
    rows = range(120)
    names = [f"{MARK}-{row:04d}.png" if row in FORGET else f"digit-{row:04d}.png" for row in rows]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10), "file_name": Value("string")})
    images = [(digits.images[row] * 15).astype("uint8") for row in range(200)]
    train = {"image": images[:120], "label": digits.target[:120].tolist(), "file_name": names}
    test = {"image": images[120:], "label": digits.target[120:200].tolist(), "file_name": ["digit.png"] * 80}
    datasets = [Dataset.from_dict(columns, features=features) for columns in (train, test)]
    return UnlearningSplits.from_indices(
        datasets[0],
        FORGET,
        validation=datasets[1].select([]),
        test=datasets[1],
        scenario="given_indices",
        settings={"who": MARK},
    )


@pytest.fixture(scope="session")
def finished_run(marked_splits: UnlearningSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: model, processor, record, private artifacts and checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=8, patch_size=4, **sizes)
    config.num_labels = 10
    models = {name: ViTForImageClassification(config).eval() for name in ("original", "unlearned", "retrained")}
    models["unlearned"].load_state_dict(models["original"].state_dict())
    sets = {
        name: ImageTensors.from_dataset(getattr(marked_splits, name), processor)
        for name in ("forget", "retain", "test")
    }
    unlearner = build_unlearner(
        models["unlearned"],
        sets["forget"],
        output_dir=str(folder),
        eval_dataset={"test": sets["test"]},
        num_rewinds=2,
        num_snapshots=3,
        learning_rate=1e-2,
        save_strategy="steps",
        save_steps=2,
        disable_tqdm=True,
    )
    unlearner.train()
    save_run(
        unlearner,
        marked_splits,
        sets,
        processor,
        models["original"],
        models["retrained"],
        retrained_used=False,
        license="apache-2.0",
    )
    return folder
