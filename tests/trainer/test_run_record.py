"""What an unlearner records about its run: when, under which names, and with which metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Examples, build_predictor
from safetensors.torch import load_file
from torch import nn

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
from hf_invwnn.audit.record import read_record
from hf_invwnn.methods import make_unlearner as make_method
from hf_invwnn.trainer.record import describe_predictor


def test_neither_a_checkpoint_nor_a_model_saved_before_training_has_a_record(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples
) -> None:
    """A record states that the run has finished."""
    unlearner = make_unlearner(memorised_vit, noisy, save_strategy="epoch")
    folder = Path(str(unlearner.args.output_dir))
    unlearner.save_model()
    assert not (folder / "unlearning.json").exists()
    with pytest.raises(ValueError, match="before `train` has finished"):
        unlearner.save_record()
    with pytest.raises(ValueError, match="Nothing is pushed before `train` has finished"):
        unlearner.push_to_hub()
    unlearner.train()
    with pytest.raises(ValueError, match="`blocking` must be True"):
        unlearner.push_to_hub(blocking=False)
    assert list(folder.glob("checkpoint-*")) and not list(folder.rglob("unlearning.json"))
    unlearner.save_model()
    record = read_record(folder)
    assert record["stopping"] == {"rules": [], "reason": "all 2 rounds are done", "retrained_used": False}
    assert record["metrics"]["unlearned"]["UA"] == unlearner.history[-1]["ua"]
    assert record["metrics"]["retrained"] is None


def test_with_a_target_the_user_states_whether_a_retrained_model_gave_it(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples
) -> None:
    """The statement stays in the record when the model is saved again."""
    unlearner = make_unlearner(memorised_vit, noisy, target_ua=0.0)
    unlearner.train()
    unlearner.save_model()
    folder = Path(str(unlearner.args.output_dir))
    assert read_record(folder)["stopping"]["retrained_used"] is None
    unlearner.save_record(retrained_used=True, license="mit")
    unlearner.save_model()
    record = read_record(folder)
    assert record["stopping"]["retrained_used"] is True and record["model"]["license"] == "mit"
    assert record["stopping"]["rules"] == ["target_ua = 0"]


def test_a_baseline_is_recorded_under_its_own_title(memorised_vit: nn.Module, noisy: Examples, tmp_path: Path) -> None:
    options = {"num_rewinds": 1, "num_snapshots": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True}
    args = UnlearningArguments(str(tmp_path), disable_tqdm=True, logging_strategy="no", **options)
    unlearner = make_method("neg_grad", memorised_vit, args, noisy)
    unlearner.train()
    unlearner.save_model()
    record = read_record(tmp_path)
    assert (record["method"], record["predictor"]) == ("NegGrad", None)


class OwnUnlearner(InvWNNUnlearner):
    """A derived method without a title of its own."""


def test_a_derived_method_has_the_title_of_its_base_class(
    memorised_vit: nn.Module, noisy: Examples, unseen: Examples, tmp_path: Path
) -> None:
    """Without a test set, TA is the accuracy on the set of unseen examples."""
    options = {"num_rewinds": 1, "num_snapshots": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True}
    options |= {"recovery_steps": 0}
    args = UnlearningArguments(str(tmp_path), disable_tqdm=True, logging_strategy="no", **options)
    unlearner = OwnUnlearner(memorised_vit, args, noisy, unseen, predictor=LinearPredictor())
    unlearner.train()
    unlearner.save_model()
    record = read_record(tmp_path)
    assert record["method"] == "InvWNN"
    for name, point in (("original", unlearner.history[0]), ("unlearned", unlearner.history[-1])):
        assert record["metrics"][name]["TA"] == 100 * point["eval_unseen_accuracy"]
    assert record["counts"] == {"forget": 32, "unseen": 200}


def test_a_predictor_is_recorded_with_the_hash_of_its_weights(tmp_path: Path) -> None:
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


def test_no_folder_of_the_machine_is_recorded(
    make_unlearner: Callable[..., InvWNNUnlearner], memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    """Neither the output directory nor the folder of the trajectory."""
    unlearner = make_unlearner(
        memorised_vit, noisy, trajectory_storage="disk", trajectory_folder=str(tmp_path / "elsewhere")
    )
    unlearner.train()
    unlearner.save_model()
    assert str(tmp_path) not in (tmp_path / "out" / "unlearning.json").read_text()
