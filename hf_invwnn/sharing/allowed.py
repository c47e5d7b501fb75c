"""The allow-list: which files of a folder a push may upload. Whatever is not named here stays on the disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..record import RECORD_NAME


CARD_NAME = "README.md"
PIPELINE_INDEX = "model_index.json"
INDICES_NAME = "forget_indices.json"
_SHARD = r"(\.[a-z0-9_]+)?(-\d{5}-of-\d{5})?\.safetensors"
# The names that `save_pretrained` of models, processors and tokenizers writes.
_MODEL = re.compile(
    rf"""(
    config\.json | generation_config\.json | model{_SHARD} | model\.safetensors\.index(\.[a-z0-9]+)?\.json
    | adapter_config\.json | adapter_model\.safetensors
    | preprocessor_config\.json | processor_config\.json | image_processor_config\.json
    | tokenizer\.json | tokenizer_config\.json | tokenizer\.model | special_tokens_map\.json | added_tokens\.json
    | vocab\.json | vocab\.txt | merges\.txt | spiece\.model | sentencepiece\.bpe\.model | chat_template\.jinja
    )""",
    re.VERBOSE,
)
# And what diffusers adds in the folder of a component.
_COMPONENT = re.compile(
    rf"""(
    diffusion_pytorch_model{_SHARD} | diffusion_pytorch_model\.safetensors\.index(\.[a-z0-9]+)?\.json
    | scheduler_config\.json
    )""",
    re.VERBOSE,
)
_COMPONENT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DATA = re.compile(r"data/[a-z]+-\d{5}-of-\d{5}\.parquet")
WEIGHTS = ".safetensors"


def model_files(folder: str | os.PathLike) -> list[str]:
    """
    The files of a folder that make up a model or a pipeline, as paths within it.

    Raises:
        ValueError: `model_index.json` is no JSON object.
    """
    root = Path(folder)
    found = [path.name for path in _files(root) if _MODEL.fullmatch(path.name)]
    if (root / PIPELINE_INDEX).is_file():
        found.append(PIPELINE_INDEX)
        for component in _components(root):
            names = (path.name for path in _files(root / component))
            found += [f"{component}/{name}" for name in names if _of_component(name)]
    return sorted(found)


def may_be_uploaded(path: str, components: tuple[str, ...] = ()) -> bool:
    """Whether a path in a repository is one that pushes of this package write."""
    if path in (CARD_NAME, RECORD_NAME, INDICES_NAME, PIPELINE_INDEX):
        return True
    folder, _, name = path.rpartition("/")
    if not folder:
        return _MODEL.fullmatch(name) is not None
    return (folder in components and _of_component(name)) or _DATA.fullmatch(path) is not None


def _of_component(name: str) -> bool:
    return _MODEL.fullmatch(name) is not None or _COMPONENT.fullmatch(name) is not None


def _components(root: Path) -> list[str]:
    try:
        index = json.loads((root / PIPELINE_INDEX).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{root / PIPELINE_INDEX}` cannot be read as JSON: {error}") from error
    if not isinstance(index, dict):
        raise ValueError(f"`{root / PIPELINE_INDEX}` must hold a JSON object, got `{type(index).__name__}`.")
    # A component is named after a place in the pipeline, and `_private` or `checkpoint-12` is none.
    return [name for name in sorted(index) if _COMPONENT_NAME.fullmatch(name) and isinstance(index[name], list)]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        yield from (path for path in sorted(folder.iterdir()) if path.is_file())


__all__ = [
    "CARD_NAME",
    "INDICES_NAME",
    "PIPELINE_INDEX",
    "WEIGHTS",
    "may_be_uploaded",
    "model_files",
]
