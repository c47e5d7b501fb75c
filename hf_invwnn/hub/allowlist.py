"""The allow-list of file names. A push uploads no other files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..files import read_json_object


CARD_NAME = "README.md"
RECORD_NAME = "unlearning.json"
PIPELINE_INDEX = "model_index.json"
INDICES_NAME = "forget_indices.json"
_SHARD = r"(\.[a-z0-9_]+)?(-\d{5}-of-\d{5})?\.safetensors"
# File names that `save_pretrained` of models, processors and tokenizers writes.
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
# Further file names in the folders of diffusers components.
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
    Relative paths of the files of the model or pipeline in a folder.

    Args:
        folder (`str` or `os.PathLike`): The folder of a saved model or pipeline.

    Raises:
        ValueError: `model_index.json` does not hold a JSON object.
    """
    root = Path(folder)
    paths = [path.name for path in _files(root) if _MODEL.fullmatch(path.name)]
    if (root / PIPELINE_INDEX).is_file():
        paths.append(PIPELINE_INDEX)
        for component in _components(root):
            names = (path.name for path in _files(root / component))
            paths += [f"{component}/{name}" for name in names if _of_component(name)]
    return sorted(paths)


def may_be_uploaded(path: str, components: tuple[str, ...] = ()) -> bool:
    """Whether a push of this package can have written a path of a repository."""
    if path in (CARD_NAME, RECORD_NAME, INDICES_NAME, PIPELINE_INDEX):
        return True
    folder, _, name = path.rpartition("/")
    if not folder:
        return _MODEL.fullmatch(name) is not None
    return (folder in components and _of_component(name)) or _DATA.fullmatch(path) is not None


def _of_component(name: str) -> bool:
    return _MODEL.fullmatch(name) is not None or _COMPONENT.fullmatch(name) is not None


def _components(root: Path) -> list[str]:
    index = read_json_object(root / PIPELINE_INDEX)
    # The pattern excludes folders such as `_private` and `checkpoint-12`.
    return [name for name in sorted(index) if _COMPONENT_NAME.fullmatch(name) and isinstance(index[name], list)]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        yield from (path for path in sorted(folder.iterdir()) if path.is_file())


__all__ = [
    "CARD_NAME",
    "INDICES_NAME",
    "PIPELINE_INDEX",
    "RECORD_NAME",
    "WEIGHTS",
    "may_be_uploaded",
    "model_files",
]
