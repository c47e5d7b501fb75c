"""Texts to forget, or to compare with: pairs of prompt and answer, or plain texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


# Files that are read directly.
_FILES = (".jsonl", ".json", ".txt")


@dataclass(frozen=True)
class TextExample:
    """
    One text.

    Args:
        answer (`str`): What the model learnt to say; a plain text is an answer without a prompt.
        prompt (`str`, defaults to `""`): What it answers. Never part of the loss.
    """

    answer: str
    prompt: str = ""


def read_texts(
    source: str,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
    text_column: str = "text",
    split: str = "train",
    name: str = "forget",
) -> list[TextExample]:
    """
    Texts of a file or a data set.

    Args:
        source (`str`): A file of JSON lines (`.jsonl`, `.json`), a text file (`.txt`, one text a line), or the Hub id
            or folder of a data set.
        prompt_column, answer_column (`str`): Names of the columns of pairs.
        text_column (`str`): Name of the column of plain texts, where there are no pairs.
        split (`str`, defaults to `"train"`): Split of a data set.
        name (`str`, defaults to `"forget"`): The argument that error messages name.

    Returns:
        `list[TextExample]`.

    Raises:
        ValueError: There are no texts, a file is of another kind, the columns are not there, a value is no text, or an
            answer is empty.
        FileNotFoundError: A file does not exist.
    """
    path = Path(source)
    if path.suffix in _FILES and not path.is_file():
        raise FileNotFoundError(f"`{name}`: there is no file {source}.")
    if path.is_file() and path.suffix not in _FILES:
        raise ValueError(f"`{name}` must be a file that ends in {', '.join(_FILES)}, or a data set, got {path.name}.")
    rows = _rows(source, path, split, name, text_column)
    if len(rows) == 0:
        raise ValueError(f"`{name}` holds no texts.")
    if {prompt_column, answer_column} <= set(rows[0]):
        return [TextExample(*_words(row, place, name, answer_column, prompt_column)) for place, row in enumerate(rows)]
    if text_column in rows[0]:
        return [TextExample(*_words(row, place, name, text_column)) for place, row in enumerate(rows)]
    raise ValueError(
        f"`{name}` must have the columns {prompt_column!r} and {answer_column!r}, or {text_column!r}; it has "
        f"{', '.join(sorted(rows[0]))}."
    )


def check_disjoint(forget: Sequence[TextExample], others: Sequence[TextExample], name: str) -> None:
    """
    Raises:
        ValueError: Texts of the forget set are in another set, which must not hold them.
    """
    shared = len(set(forget) & set(others))
    if shared:
        raise ValueError(f"`{name}` holds {shared} of the {len(set(forget))} texts of `forget`; leave them out.")


def _rows(source: str, path: Path, split: str, name: str, text_column: str) -> Any:
    # Files are not read by `datasets`, which would leave a copy of the texts in its cache.
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [{text_column: line} for line in lines if line.strip()]
    if path.suffix in _FILES:
        return _json_rows(path, name)
    from datasets import load_dataset  # takes a second to import

    return load_dataset(source, split=split)


def _json_rows(path: Path, name: str) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        rows = _parsed(text, name, 1)
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        rows = [_parsed(line, name, place) for place, line in enumerate(lines, 1)]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"`{name}`: {path.name} must hold objects, such as " + '{"prompt": "...", "answer": "..."}.')
    return rows


def _parsed(line: str, name: str, place: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"`{name}`: text {place} is not JSON ({error.msg}).") from None


def _words(row: Mapping[str, Any], place: int, name: str, answer: str, *others: str) -> list[str]:
    """The texts of a row, that of the answer first."""
    texts = []
    for column in (answer, *others):
        text = row.get(column)
        if not isinstance(text, str):
            raise ValueError(f"`{name}`: {column!r} of row {place} must be a text, got {type(text).__name__}.")
        texts.append(text)
    if not texts[0].strip():
        raise ValueError(f"`{name}`: {answer!r} of row {place} is empty; without it there is nothing to forget.")
    return texts


__all__ = ["TextExample", "check_disjoint", "read_texts"]
