"""`Contents` of a push: a card and files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.repocard import RepoCard

from ..files import read_json_object
from .allowlist import CARD_NAME, WEIGHTS, is_vocabulary, model_files


@dataclass(frozen=True)
class Contents:
    """
    The contents of one commit.

    Args:
        card ([`RepoCard`]): The card; its section replaces the section of an existing card.
        files (`dict[str, Path | bytes]`): Path in the repository -> local file, or bytes.
        repo_type (`str`, defaults to `"model"`): `"model"` or `"dataset"`.
        left_out (`tuple[str, ...]`, *optional*): Files and folders beside them that are not uploaded.
    """

    card: RepoCard
    files: Mapping[str, Path | bytes]
    repo_type: str = "model"
    left_out: tuple[str, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        """The component folders of a pipeline."""
        return component_folders(self.files)


def component_folders(names: Iterable[str]) -> tuple[str, ...]:
    """Top-level folders of some paths."""
    return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))


def saved_model(folder: Path, recorded: Collection[str] | None = None) -> dict[str, Path | bytes]:
    """
    The model or pipeline saved in a folder, as the `files` of [`Contents`].

    Args:
        folder (`Path`): The folder. Symbolic links in it are neither followed nor uploaded.
        recorded (`Collection[str]`, *optional*): The files of a run; weights in addition to these are kept, so that
            they are noticed, and other files are left out.

    Raises:
        FileNotFoundError: The folder has no weights in safetensors.
        ValueError: A file is empty, or the model would not load from what can be uploaded.
    """
    names = [name for name in model_files(folder) if recorded is None or name in recorded or name.endswith(WEIGHTS)]
    if not any(name.endswith(WEIGHTS) for name in names):
        raise FileNotFoundError(f"`{folder}` holds no weights (*{WEIGHTS}); pickled weights are never uploaded.")
    if empty := [name for name in names if not (folder / name).stat().st_size]:
        raise ValueError(f"`{folder}` holds empty files: {', '.join(empty)}; save the model again.")
    files: dict[str, Path | bytes] = {name: folder / name for name in names}
    check_loadable(folder, files)
    return files


def check_loadable(folder: Path, files: Mapping[str, Path | bytes]) -> None:
    """
    Raises:
        ValueError: A configuration among the files needs Python code or a vocabulary that is not among them.
    """
    for name, content in files.items():
        if not name.endswith("config.json"):
            continue
        config = read_json_object(content, foreign=True) if isinstance(content, Path) else {}
        if config.get("auto_map"):
            raise ValueError(
                f"`{folder}`: {name} has an `auto_map`, so the model loads only with the Python code it names, which "
                "is never uploaded; register the classes in a package, or remove `auto_map`."
            )
        place, _, own = name.rpartition("/")
        vocabularies = [other for other in files if other.rpartition("/")[0] == place and is_vocabulary(other)]
        if own == "tokenizer_config.json" and not vocabularies and needs_vocabulary(config.get("tokenizer_class")):
            raise ValueError(
                f"`{folder}`: {name} would be uploaded without a vocabulary, so the tokenizer would not load; save "
                "the tokenizer before the model (or pass it as `processing_class`), and save the run again."
            )


# Tokenizers of bytes and of code points.
_WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")


def needs_vocabulary(tokenizer_class: str | None) -> bool:
    """Whether a tokenizer has a vocabulary in files of its own."""
    return tokenizer_class not in _WITHOUT_VOCABULARY


def left_out(folder: Path, files: Collection[str]) -> tuple[str, ...]:
    """Names of the files and folders of a folder that are not among those uploaded; folders end with `/`."""
    folders = {name.split("/")[0] for name in files if "/" in name}
    names = []
    for path in sorted(folder.iterdir()):
        name = f"{path.name}/" if path.is_dir() and not path.is_symlink() else path.name
        if path.name not in (*files, *folders, CARD_NAME):
            names.append(name)
    return tuple(names)


__all__ = ["Contents", "check_loadable", "component_folders", "left_out", "saved_model"]
