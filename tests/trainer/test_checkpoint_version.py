"""A checkpoint of another version is refused by name and version, before the model is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Examples, build_model, unchanged

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.errors import CheckpointMismatchError
from hf_invwnn.trainer.checkpoint_files import STATE_NAME, STATE_VERSION, load_state, write_manifest


@pytest.mark.parametrize("version", [1, 2, 3, 5, None])
def test_a_checkpoint_of_another_version_is_refused(
    version: int | None, make_unlearner: Callable[..., InvWNNUnlearner], digits: Examples
) -> None:
    """A checkpoint without `format_version` counts as version 1, which hf-invwnn 0.1 wrote."""
    forget, unseen = digits.part(0, 16), digits.part(100, 116)
    options = {"eval_dataset": unseen, "save_strategy": "steps", "save_steps": 2}
    unlearner = make_unlearner(build_model("vit"), forget, **options)
    unlearner.train()
    folder = sorted(Path(str(unlearner.args.output_dir)).glob("checkpoint-*"))[0]
    assert load_state(folder)["format_version"] == STATE_VERSION == 4

    state = json.loads((folder / STATE_NAME).read_text())
    del state["format_version"]
    (folder / STATE_NAME).write_text(json.dumps(state if version is None else {**state, "format_version": version}))
    write_manifest(folder)
    model = build_model("vit")
    wrong = rf"`.*{STATE_NAME}` has format_version {version or 1}, this version of hf-invwnn reads 4"
    message = rf"{wrong}; .* \(0\.1 for 1, 0\.2 for 2, 0\.3 for 3\)"
    with unchanged(model), pytest.raises(CheckpointMismatchError, match=message):
        make_unlearner(model, forget, **options).train(resume_from_checkpoint=str(folder))
