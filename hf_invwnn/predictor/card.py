"""A predictor as the contents of a Hub repository: its card and its files."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from ..files import read_json_object
from ..hub.cards import UNKNOWN_LICENSE, dump_yaml, make_card, render
from ..hub.contents import Contents, saved_model


def predictor_contents(folder: str | os.PathLike, repo_id: str, license: str | None = None) -> Contents:
    """
    Describes a saved predictor for [`~hf_invwnn.hub.push`].

    Args:
        folder (`str` or `os.PathLike`): The folder it was saved to.
        repo_id (`str`): The repository; for the card.
        license (`str`, *optional*): Licence for the card.

    Raises:
        FileNotFoundError: The folder has no weights.
        ValueError: A file is empty.
    """
    root = Path(folder)
    files = saved_model(root)
    return Contents(predictor_card(root, repo_id, license), files)


def predictor_card(folder: Path, repo_id: str, license: str | None = None) -> ModelCard:
    """
    The card of a predictor, with the `skill.md` and `trained_on.md` that lie beside it, if they do.

    Args:
        folder (`Path`): With `config.json` and the weights.
        repo_id (`str`): Where it goes.
        license (`str`, *optional*): Its licence.
    """
    config = read_json_object(folder / "config.json")
    beside = {name: (folder / name) for name in ("skill.md", "trained_on.md")}
    said = {name: path.read_text(encoding="utf-8").strip() for name, path in beside.items() if path.is_file()}
    epochs = config.get("rewind_epochs")
    past = f"what a weight was {epochs} epochs before the oldest" if epochs else "what a weight was before the oldest"
    data = ModelCardData(
        license=license or UNKNOWN_LICENSE,
        library_name="hf-invwnn",
        tags=["machine-unlearning", "weight-prediction", "invwnn"],
    )
    text = render(
        __package__,
        "predictor.md",
        repo_id=repo_id,
        config=config,
        what="what a weight would be without the examples of the trajectory"
        if config.get("target") == "counterfactual"
        else f"{past} of the values it is shown,",
        num_weights=_count_weights(folder),
        trained_on=said.get("trained_on.md", "Not recorded."),
        config_yaml=dump_yaml({key: config[key] for key in sorted(config) if key not in ("architectures", "dtype")}),
        skill=said.get("skill.md", "Not measured."),
    )
    return make_card(ModelCard, data, text)


def _count_weights(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


__all__ = ["predictor_card", "predictor_contents"]
