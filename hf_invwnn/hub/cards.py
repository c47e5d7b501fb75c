"""Cards: rendered from a template, and merged into an existing card between two markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from huggingface_hub.repocard import RepoCard

from .paths import metadata_without_paths, without_paths


BEGIN = "<!-- hf-invwnn:begin -->"
END = "<!-- hf-invwnn:end -->"
UNKNOWN_LICENSE = "unknown"


def render(package: str, template: str, **values: Any) -> str:
    """
    Renders a Markdown template with Jinja; an undefined variable is an error.

    Args:
        package (`str`): The package whose `templates` folder holds the template, such as `"hf_invwnn.audit"`.
        template (`str`): Its file name.
        values: The variables of the template.
    """
    source = files(package).joinpath("templates").joinpath(template).read_text(encoding="utf-8")
    return _environment().from_string(source).render(**values)


def make_card(kind: type[RepoCard], data: Any, section: str) -> Any:
    """
    A card with one section between the two markers.

    Args:
        kind (`type[RepoCard]`): `ModelCard` or `DatasetCard`.
        data (`CardData`): Its metadata.
        section (`str`): Markdown.
    """
    title = "" if section.startswith("# ") else "\n"
    return kind(f"---\n{data.to_yaml()}\n---\n{title}{BEGIN}\n{section.strip()}\n{END}\n")


def merge_card(existing: str | None, card: RepoCard) -> str:
    """
    The text of an existing card with the new section between its markers. Text outside the markers and other metadata
    stay as they are.

    Args:
        existing (`str`, *optional*): The card in the repository.
        card (`RepoCard`): The new card.

    Raises:
        ValueError: The metadata of `existing` is not YAML, or `existing` has only one of the two markers.
    """
    if not existing or not existing.strip():
        return str(card)
    old, new_data = _parse(existing, type(card)), card.data.to_dict()
    # PEFT writes a card with the path of the base model, in its metadata and in its text.
    old_data = metadata_without_paths(old.data.to_dict())
    old_text = without_paths(old.text)
    data = {**new_data, **old_data}
    for name in ("model-index", "configs"):
        if name in new_data:
            data[name] = new_data[name]
    data["tags"] = list(dict.fromkeys([*(old_data.get("tags") or []), *new_data["tags"]]))
    if old_data.get("license") in (None, UNKNOWN_LICENSE):
        data["license"] = new_data["license"]
    text = _replace_section(old_text, card.text[card.text.index(BEGIN) : card.text.index(END) + len(END)])
    return f"---\n{dump_yaml(data)}---\n{text if text.startswith(chr(10)) else chr(10) + text}"


def plain(value: Any) -> str:
    """A value as text of Markdown, in which nothing is markup, HTML, a cell of a table, or a marker of a section."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;")).replace(
        ">", "&gt;"
    )


def code(value: Any) -> str:
    """A value between backticks, without any of its own."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "/").replace("<!--", "").replace("-->", "")
    return f"`{text}`"


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Values as YAML, in their order."""
    from huggingface_hub.utils import yaml_dump

    return yaml_dump(dict(values), sort_keys=False)


def _replace_section(text: str, section: str) -> str:
    begin, end = text.find(BEGIN), text.find(END)
    if (begin < 0) != (end < 0) or end < begin:
        raise ValueError(f"The existing card has only one of the markers `{BEGIN}` and `{END}`; set both or none.")
    if begin < 0:
        return f"{text.rstrip()}\n\n{section}\n"
    return text[:begin] + section + text[end + len(END) :]


def _parse(text: str, kind: type[RepoCard]) -> RepoCard:
    from yaml import YAMLError

    try:
        return kind(text)
    except (ValueError, YAMLError) as error:
        raise ValueError(f"The metadata of the existing card cannot be read ({error}); correct it first.") from error


@cache
def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    # Markdown, not HTML: values go through the filters.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"plain": plain, "code": code}
    return environment


__all__ = ["UNKNOWN_LICENSE", "code", "dump_yaml", "make_card", "merge_card", "plain", "render"]
