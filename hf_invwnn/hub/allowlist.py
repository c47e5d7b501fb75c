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
    | video_preprocessor_config\.json | audio_tokenizer_config\.json
    | tokenizer_config\.json | special_tokens_map\.json | added_tokens\.json
    | chat_template\.(jinja|json)
    )""",
    re.VERBOSE,
)
# The vocabularies of the tokenizers of transformers.
_VOCABULARY = re.compile(
    r"""(
    tokenizer\.json | tokenizer\.model | vocab\.(json|txt) | vocab-(src|tgt)\.json | target_vocab\.json | merges\.txt
    | (spiece|spm|spm_char|sentencepiece|sentencepiece\.bpe)\.model | (source|target)\.spm | entity_vocab\.json
    | bpe\.codes | byte_maps\.json | dict\.txt | emoji\.json | normalizer\.json | prophetnet\.tokenizer
    | word_(pronunciation|shape)\.json
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
# PEFT saves an adapter into a folder of its name, unless that is `default`.
_ADAPTER_NAME = re.compile(r"(?!checkpoint-)[A-Za-z0-9][\w-]*")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
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
    paths = [path.name for path in _files(root) if _of_model(path.name)]
    for folder in _folders(root):
        if _ADAPTER_NAME.fullmatch(folder.name) and all(_is_own_file(folder / name) for name in _ADAPTER):
            paths += [f"{folder.name}/{name}" for name in _ADAPTER]
    if _is_own_file(root / PIPELINE_INDEX):
        paths.append(PIPELINE_INDEX)
        for component in _components(root):
            names = (path.name for path in _files(root / component) if not (root / component).is_symlink())
            paths += [f"{component}/{name}" for name in names if _of_component(name)]
    return sorted(paths)


def may_be_uploaded(path: str, components: tuple[str, ...] = ()) -> bool:
    """Whether a push of this package can have written a path of a repository."""
    if path in (CARD_NAME, RECORD_NAME, INDICES_NAME, PIPELINE_INDEX):
        return True
    folder, _, name = path.rpartition("/")
    if not folder:
        return _of_model(name)
    if name in _ADAPTER and _ADAPTER_NAME.fullmatch(folder):
        return True
    return (folder in components and _of_component(name)) or _DATA.fullmatch(path) is not None


def is_vocabulary(path: str) -> bool:
    """Whether a file is the vocabulary of a tokenizer."""
    return _VOCABULARY.fullmatch(path.rpartition("/")[2]) is not None


def _of_model(name: str) -> bool:
    return _MODEL.fullmatch(name) is not None or is_vocabulary(name)


def _of_component(name: str) -> bool:
    return _of_model(name) or _COMPONENT.fullmatch(name) is not None


def _components(root: Path) -> list[str]:
    index = read_json_object(root / PIPELINE_INDEX)
    # The pattern excludes folders such as `_private` and `checkpoint-12`.
    return [name for name in sorted(index) if _COMPONENT_NAME.fullmatch(name) and isinstance(index[name], list)]


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder that is not reached through a link; links in it are left out."""
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if _is_own_file(path))


def _folders(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


__all__ = [
    "CARD_NAME",
    "INDICES_NAME",
    "PIPELINE_INDEX",
    "RECORD_NAME",
    "WEIGHTS",
    "is_vocabulary",
    "may_be_uploaded",
    "model_files",
]
