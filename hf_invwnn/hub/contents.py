"""`Contents` of a push: a card and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.repocard import RepoCard

from .allowlist import WEIGHTS, model_files


@dataclass(frozen=True)
class Contents:
    """
    The contents of one commit.

    Args:
        card ([`RepoCard`]): The card; its section replaces the section of an existing card.
        files (`dict[str, Path | bytes]`): Path in the repository -> local file, or bytes.
        repo_type (`str`, defaults to `"model"`): `"model"` or `"dataset"`.
    """

    card: RepoCard
    files: Mapping[str, Path | bytes]
    repo_type: str = "model"

    @property
    def components(self) -> tuple[str, ...]:
        """The component folders of a pipeline."""
        return component_folders(self.files)


def component_folders(names: Iterable[str]) -> tuple[str, ...]:
    """Top-level folders of some paths."""
    return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))


def saved_model(folder: Path) -> dict[str, Path | bytes]:
    """
    The model or pipeline saved in a folder, as the `files` of [`Contents`].

    Raises:
        FileNotFoundError: The folder has no weights in safetensors.
        ValueError: A file is empty.
    """
    names = model_files(folder)
    if not any(name.endswith(WEIGHTS) for name in names):
        raise FileNotFoundError(f"`{folder}` holds no weights (*{WEIGHTS}); pickled weights are never uploaded.")
    if empty := [name for name in names if not (folder / name).stat().st_size]:
        raise ValueError(f"`{folder}` holds empty files: {', '.join(empty)}; save the model again.")
    return {name: folder / name for name in names}


__all__ = ["Contents", "component_folders", "saved_model"]
