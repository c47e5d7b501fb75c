"""What a run says of itself is what it was."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_runs import FORGET, finished_run, marked_splits  # noqa: F401
from helpers import Examples, build_predictor
from safetensors.torch import load_file
from torch import nn

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
from hf_invwnn.audit.private import private_hashes, save_private_artifacts
from hf_invwnn.audit.record import read_record
from hf_invwnn.methods import make_unlearner as make_method
from hf_invwnn.trainer.record import describe_predictor


def test_the_record_of_a_run_agrees_with_its_files_and_its_forget_set(finished_run: Path) -> None:  # noqa: F811
    record = read_record(finished_run)
    assert record["forget"]["count"] == len(FORGET)
    as_integers = b"".join(struct.pack("<q", row) for row in FORGET)
    assert record["forget"]["sha256"] == hashlib.sha256(as_integers).hexdigest()
    assert set(record["files"]) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    for name, digest in record["files"].items():
        assert hashlib.sha256((finished_run / name).read_bytes()).hexdigest() == digest
    for name, digest in private_hashes(finished_run).items():
        assert hashlib.sha256((finished_run / "_private" / name).read_bytes()).hexdigest() == digest
    assert record["method"] == "InvWNN" and record["arguments"]["num_rewinds"] == 2
    assert record["cost"]["forget_steps"] == 4, "two rewinds of three snapshots are two times two epochs of one batch"
    assert record["counts"] == {"train": 120, "forget": 6, "retain": 114, "validation": 0, "test": 80}
    assert {"python", "torch", "transformers", "hf-invwnn"} <= set(record["versions"])


def test_no_checkpoint_and_no_model_from_before_training_gets_a_record(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples
) -> None:
    """It would say that the run has ended."""
    unlearner = make_unlearner(memorised_vit, noisy, save_strategy="epoch")
    folder = Path(str(unlearner.args.output_dir))
    unlearner.save_model()
    assert not (folder / "unlearning.json").exists()
    with pytest.raises(ValueError, match="before `train` has finished"):
        unlearner.save_record()
    with pytest.raises(ValueError, match="Nothing is pushed before `train` has finished"):
        unlearner.push_to_hub()
    unlearner.train()
    with pytest.raises(ValueError, match="`blocking` must stay True"):
        unlearner.push_to_hub(blocking=False)
    assert list(folder.glob("checkpoint-*")) and not list(folder.rglob("unlearning.json"))
    unlearner.save_model()
    record = read_record(folder)
    assert record["stopping"] == {"rules": [], "reason": "all 2 rewinds are done", "oracle_used": False}
    assert record["metrics"]["after"]["UA"] == unlearner.history[-1]["ua"]
    assert record["metrics"]["oracle"] is None


def test_who_set_a_target_has_to_say_whether_an_oracle_gave_it(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples
) -> None:
    """What was said stays said, also when the model is saved again."""
    unlearner = make_unlearner(memorised_vit, noisy, target_ua=0.0)
    unlearner.train()
    unlearner.save_model()
    folder = Path(str(unlearner.args.output_dir))
    assert read_record(folder)["stopping"]["oracle_used"] is None
    unlearner.save_record(oracle_used=True, license="mit")
    unlearner.save_model()
    found = read_record(folder)
    assert found["stopping"]["oracle_used"] is True and found["model"]["license"] == "mit"
    assert found["stopping"]["rules"] == ["target_ua = 0"]


def test_a_baseline_is_recorded_under_its_own_name(memorised_vit: nn.Module, noisy: Examples, tmp_path: Path) -> None:
    options = {"num_rewinds": 1, "num_snapshots": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True}
    args = UnlearningArguments(str(tmp_path), disable_tqdm=True, logging_strategy="no", **options)
    unlearner = make_method("neg_grad", memorised_vit, args, noisy)
    unlearner.train()
    unlearner.save_model()
    record = read_record(tmp_path)
    assert (record["method"], record["predictor"]) == ("NegGrad", None)


class OwnUnlearner(InvWNNUnlearner):
    """A method that somebody derived."""


def test_a_derived_method_goes_by_the_name_of_what_it_is_derived_from(
    memorised_vit: nn.Module, noisy: Examples, held_out: Examples, tmp_path: Path
) -> None:
    """And accuracy on held-out examples is that on examples never seen, where there is no test set."""
    options = {"num_rewinds": 1, "num_snapshots": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True}
    args = UnlearningArguments(str(tmp_path), disable_tqdm=True, logging_strategy="no", **options)
    unlearner = OwnUnlearner(memorised_vit, args, noisy, held_out, predictor=LinearPredictor())
    unlearner.train()
    unlearner.save_model()
    record = read_record(tmp_path)
    assert record["method"] == "InvWNN"
    for name, point in (("before", unlearner.history[0]), ("after", unlearner.history[-1])):
        assert record["metrics"][name]["TA"] == 100 * point["eval_unseen_accuracy"]
    assert record["counts"] == {"forget": 32, "unseen": 200}


def test_a_predictor_is_named_by_its_weights(tmp_path: Path) -> None:
    """The hash is of names and bytes in the order of the names, computed here from the saved file."""
    first, same, other = build_predictor(seed=1), build_predictor(seed=1), build_predictor(seed=2)
    described = describe_predictor(first)
    assert described == describe_predictor(same) and described != describe_predictor(other)
    first.save_pretrained(tmp_path)
    digest = hashlib.sha256()
    for name, value in sorted(load_file(tmp_path / "model.safetensors").items()):
        digest.update(name.encode() + value.numpy().tobytes())
    assert described is not None and described["sha256"] == digest.hexdigest()
    scale = dict.fromkeys(("conv", "linear", "bias"), 0.5)
    assert describe_predictor(LinearPredictor(0.5)) == {
        "name": "LinearPredictor",
        "config": {"scale": scale},
        "sha256": None,
    }


def test_what_is_kept_again_takes_the_place_of_what_was_kept(tmp_path: Path) -> None:
    save_private_artifacts(tmp_path, per_example={"row": [1, 2]})
    salt, before = (tmp_path / "_private" / "salt").read_text(), private_hashes(tmp_path)
    save_private_artifacts(tmp_path, per_example={"row": [3]})
    after = private_hashes(tmp_path)
    assert before.keys() == after.keys() and before["per_example.parquet"] != after["per_example.parquet"]
    assert (tmp_path / "_private" / "salt").read_text() == salt, "else earlier reports could not be traced back"
    assert len(bytes.fromhex(salt)) == 32
    (tmp_path / "_private" / "hashes.json").write_text(json.dumps([]))
    with pytest.raises(ValueError, match="must hold a JSON object"):
        private_hashes(tmp_path)


def test_no_folder_of_the_machine_is_recorded(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    """Neither where the run was, nor where its trajectory lay."""
    unlearner = make_unlearner(
        memorised_vit, noisy, trajectory_storage="disk", trajectory_folder=str(tmp_path / "elsewhere")
    )
    unlearner.train()
    unlearner.save_model()
    assert str(tmp_path) not in (tmp_path / "out" / "unlearning.json").read_text()
