"""Local paths in what is uploaded: found in JSON and in texts, and taken out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
# A path of a machine: absolute, from the home folder, relative with dots, of Windows, or a file URL. What stands
# before it must not make it the end of a word or of a web address.
_PATH = re.compile(r"(?<![\w:/.~-])(?:file:|~/|\.{1,2}[/\\]|/(?=\w)|[A-Za-z]:[\\/]|\\\\)[^\s`'\",;)\]]+")
# A value that is nothing but a path, whose names may hold spaces.
_WHOLE_PATH = re.compile(r"[^\n`'\"]+")
# Keys under which a value is a name, a folder or a file.
_NAMES_A_PLACE = ("name_or_path", "_path", "_file", "_dir", "_folder", "path")
# Configurations that `save_pretrained` writes. Vocabularies are not among them: their entries may look like paths.
FILTERED = re.compile(r"([\w.-]*/)?(\w*config\.json|model_index\.json)")


def hub_id(name: Any) -> bool:
    """Whether a text is a Hub id, and neither a path nor an existing file or folder."""
    return isinstance(name, str) and _HUB_ID.fullmatch(name) is not None and ".." not in name and not _exists(name)


def without_paths(text: str) -> str:
    """A text without the paths of a machine."""
    return _PATH.sub("(a path)", text)


def is_path(value: str, key: str = "") -> bool:
    """Whether the value of a key is a path of a machine."""
    if _PATH.match(value.strip()) and (key.endswith(_NAMES_A_PLACE) or _WHOLE_PATH.fullmatch(value.strip())):
        return True
    return key.endswith(_NAMES_A_PLACE) and bool(value) and ("\\" in value or _exists(value))


def config_without_paths(config: Any, base_model: str | None = None, key: str = "") -> Any:
    """
    A configuration whose local paths are replaced by `None`, at any depth; that of the base model by its Hub id.

    Args:
        config: JSON types.
        base_model (`str`, *optional*): Hub id of the base model.
        key (`str`, *optional*): The key that the configuration is the value of.
    """
    if isinstance(config, Mapping):
        return {name: config_without_paths(value, base_model, str(name)) for name, value in config.items()}
    if isinstance(config, list):
        return [config_without_paths(value, base_model, key) for value in config]
    if isinstance(config, str) and is_path(config, key):
        return base_model if key == "base_model_name_or_path" else None
    return config


def files_without_paths(files: Mapping[str, Path | bytes], base_model: str | None = None) -> dict[str, bytes]:
    """
    The configurations among some files that hold local paths, without these.

    Args:
        files (`dict[str, Path | bytes]`): Path in the repository -> local file, or bytes.
        base_model (`str`, *optional*): Hub id of the base model.

    Returns:
        `dict[str, bytes]`: The changed contents only. The local files stay as they are.
    """
    changed = {}
    for name, content in files.items():
        if not FILTERED.fullmatch(name):
            continue
        text = content if isinstance(content, bytes) else content.read_bytes()
        try:
            config = json.loads(text)
        except ValueError as error:
            raise ValueError(f"`{name}` cannot be read as JSON ({error}); save the model again.") from error
        filtered = config_without_paths(config, base_model)
        if filtered != config:
            changed[name] = (json.dumps(filtered, indent=2) + "\n").encode()
    return changed


def metadata_without_paths(value: Any) -> Any:
    """Metadata of a card without local paths: entries and elements that hold one are left out."""
    if isinstance(value, Mapping):
        kept = {name: metadata_without_paths(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item is not None}
    if isinstance(value, list):
        return [item for item in map(metadata_without_paths, value) if item is not None]
    if isinstance(value, str) and (_PATH.search(value.split("base_model:adapter:")[-1]) or _exists(value)):
        return None
    return value


def _exists(name: str) -> bool:
    try:
        return "/" in name and os.path.exists(name)
    except ValueError:  # a null byte
        return False


__all__ = [
    "config_without_paths",
    "files_without_paths",
    "hub_id",
    "is_path",
    "metadata_without_paths",
    "without_paths",
]
