"""Pushed models, pipelines, predictors and histories are loaded from the Hub bit for bit."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers import build_predictor
from safetensors.torch import save_file
from transformers import AutoModelForImageClassification

from hf_invwnn.audit.record import make_record, write_record
from hf_invwnn.files import sha256_of_files
from hf_invwnn.histories import RunSpec
from hf_invwnn.histories.rows import history_dataset
from hf_invwnn.hub.allowlist import model_files


pytestmark = pytest.mark.slow  # every test starts a client process


def a_pipeline(folder: Path) -> None:
    """A DDPM pipeline and its record, as a diffusion run saves them."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=10)).save_pretrained(folder)
    record = make_record(
        outcome="reached",
        method="InvWNN",
        arguments={"num_rewinds": 3},
        forget={"count": 50, "commitment": "0" * 64},
        counts={"forget": 5},
        stopping={"rules": [], "reason": "all 3 rounds are done", "retrained_used": False},
        metrics={"original": {"forget_ratio": 31.0, "kid": 0.02}, "unlearned": {"forget_ratio": 2.5, "kid": 0.03}},
        cost={"forget_steps": 30, "rounds": 3, "seconds": 1.0},
        files=sha256_of_files(folder, model_files(folder)),
    )
    write_record(record, folder)


def some_histories(folder: Path) -> None:
    spec = RunSpec("digits", "mlp")
    model = torch.nn.Linear(3, 2)
    histories = {name: torch.randn(2, 5).numpy() for name in ("weight", "bias")}
    folder.mkdir()
    for seed in range(2):
        history_dataset(spec, model, histories).to_parquet(folder / f"run_{seed}.parquet")


ROUND_TRIP = """
import torch
from datasets import Dataset, load_dataset
from diffusers import DiffusionPipeline
from transformers import AutoImageProcessor, AutoModelForImageClassification
from huggingface_hub import DatasetCard, HfApi, ModelCard, constants, get_session
from safetensors.torch import load_file
from hf_invwnn import InvWNNModel
from hf_invwnn.cli.main import main

def same(model, path):
    mine, theirs = model.state_dict(), load_file(path)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)

predictor = InvWNNModel.from_pretrained(folder + "/predictor")
predictor.push_to_hub(names["predictor"], private=True, trained_on="Ten runs.", skill="| L1 |", license="mit")
predictor.push_to_hub(names["predictor"], revision="second")
results["codes"] = [main(["push", folder + "/" + kind, names[kind]]) for kind in ("run", "pipeline", "histories")]
results["same"] = {
    "predictor": same(InvWNNModel.from_pretrained(names["predictor"]), folder + "/predictor/model.safetensors"),
    "revision": same(InvWNNModel.from_pretrained(names["predictor"], revision="second"),
                     folder + "/predictor/model.safetensors"),
    "run": same(AutoModelForImageClassification.from_pretrained(names["run"]), saved),
    "pipeline": same(DiffusionPipeline.from_pretrained(names["pipeline"]).unet,
                     folder + "/pipeline/unet/diffusion_pytorch_model.safetensors"),
}
AutoImageProcessor.from_pretrained(names["run"])
loaded = load_dataset(names["histories"], split="train")
local = Dataset.from_parquet([folder + f"/histories/run_{seed}.parquet" for seed in range(2)])
results["rows"] = loaded.to_list() == local.to_list() and len(loaded)
api = HfApi()
results["private"] = {kind: api.repo_info(names[kind]).private for kind in ("predictor", "run")}
results["cards"] = {}
for kind in ("predictor", "run", "pipeline", "histories"):
    card = (DatasetCard if kind == "histories" else ModelCard).load(names[kind])
    # `card.validate()` of huggingface_hub before 2 asks huggingface.co, whatever the endpoint.
    body = {"repoType": "dataset" if kind == "histories" else "model", "content": str(card)}
    get_session().post(constants.ENDPOINT + "/api/validate-yaml", json=body).raise_for_status()
    results["cards"][kind] = {"data": card.data.to_dict(), "text": card.text}
"""


def test_predictor_classifier_pipeline_and_dataset_come_back_bit_for_bit(hub, client, finished_run, tmp_path) -> None:
    """Their cards pass the validation of the Hub and have the known metadata."""
    build_predictor().save_pretrained(tmp_path / "predictor")
    a_pipeline(tmp_path / "pipeline")
    some_histories(tmp_path / "histories")
    shutil.copytree(finished_run, tmp_path / "run")
    # `save_pretrained` renames some layers of a ViT, so state dicts of loaded models are compared.
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "saved.safetensors")
    names = {kind: hub.name() for kind in ("predictor", "run", "pipeline", "histories")}
    results = client(ROUND_TRIP, names=names, folder=str(tmp_path), saved=str(tmp_path / "saved.safetensors"))
    assert results["codes"] == [0, 0, 0], results["output"]
    assert results["same"] == {"predictor": True, "revision": True, "run": True, "pipeline": True}
    assert results["rows"] == 8, "two files of two weights for each of two parameters"
    assert results["private"] == {"predictor": True, "run": False}

    cards = {kind: card["data"] for kind, card in results["cards"].items()}
    assert {kind: card["license"] for kind, card in cards.items()} == {
        "predictor": "mit",
        "run": "apache-2.0",
        "pipeline": "unknown",
        "histories": "unknown",
    }
    assert (cards["run"]["library_name"], cards["pipeline"]["library_name"]) == ("transformers", "diffusers")
    assert cards["run"]["pipeline_tag"] == "image-classification"
    record = json.loads((finished_run / "unlearning.json").read_text())
    published = {
        metric["name"]: metric["value"]
        for result in cards["run"]["model-index"][0]["results"]
        for metric in result["metrics"]
    }
    for name, when in (("original", "before"), ("unlearned", "after")):
        for metric in ("RA", "UA", "TA", "MIA"):
            assert published[f"{metric} {when} unlearning"] == round(record["metrics"][name][metric], 4)
    assert "| unlearned | 2.50 | 0.030 |" in results["cards"]["pipeline"]["text"]
    text = results["cards"]["run"]["text"]
    for part in (
        record["forget"]["commitment"],
        "num_rewinds: 2",
        "was not used",
        "nor a legal guarantee",
        "12 of its",
    ):
        assert part in text
    assert "Ten runs." in results["cards"]["predictor"]["text"] and "| L1 |" in results["cards"]["predictor"]["text"]


TRAINING = """
import torch
from helpers import Examples, build_model, build_unlearner
from huggingface_hub import HfApi
from safetensors.torch import load_file
from hf_invwnn.hub import PushError

torch.manual_seed(0)
forget = Examples(pixel_values=torch.randn(8, 1, 8, 8), labels=torch.arange(8))
options = dict(output_dir=folder, push_to_hub=True, hub_model_id=name, num_snapshots=2, num_rewinds=1)
unlearner = build_unlearner(build_model("vit"), forget, **options, save_strategy="epoch")
api = HfApi()
results["before"] = api.repo_exists(name)
unlearner.train()
results["trained"] = api.repo_exists(name)
unlearner.save_model()
results["files"] = api.list_repo_files(name)
unlearner.push_to_hub(license="mit")
results["card"] = open(api.hf_hub_download(name, "README.md")).read()
try:
    build_unlearner(build_model("vit"), forget, **{**options, "hub_model_id": "no-user"})
except PushError as error:
    results["refused"] = str(error)
"""


def test_an_unlearner_pushes_the_saved_model_and_nothing_earlier(hub, client, tmp_path) -> None:
    """With `push_to_hub=True` the repository is created at the end and contains no checkpoint."""
    tests = str(Path(__file__).parents[1])
    name = hub.name()
    code = f"import sys; sys.path.insert(0, {tests!r})\n" + TRAINING
    results = client(code, folder=str(tmp_path / "out"), name=name)
    assert (results["before"], results["trained"]) == (False, False)
    assert sorted(results["files"]) == [
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "unlearning.json",
    ]
    assert list((tmp_path / "out").glob("checkpoint-*")), "without a checkpoint the test would prove nothing"
    assert "license: mit" in results["card"] and "all 1 rounds are done" in results["card"]
    assert "`no-user` is not the name of a repository" in results["refused"]
    assert sys.executable not in results["card"] and str(tmp_path) not in results["card"]
