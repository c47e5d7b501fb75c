"""Texts to forget, or to compare with: pairs of prompt and answer, or plain texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        ValueError: There are no texts, the columns are not there, or an answer is empty.
        FileNotFoundError: A file does not exist.
    """
    path = Path(source)
    if path.suffix in (".txt", ".jsonl", ".json") and not path.is_file():
        raise FileNotFoundError(f"`{name}`: there is no file {source}.")
    if path.suffix == ".txt":
        lines = path.read_text(encoding="utf-8").splitlines()
        return _checked([TextExample(line) for line in lines if line.strip()], name)
    return texts_of(_rows(source, path, split, name), prompt_column, answer_column, text_column, name)


def texts_of(
    rows: Sequence[Mapping[str, Any]], prompt_column: str, answer_column: str, text_column: str, name: str
) -> list[TextExample]:
    """
    Texts of rows; takes and raises what [`read_texts`] does.
    """
    if len(rows) == 0:
        raise ValueError(f"`{name}` holds no texts.")
    columns = set(rows[0])
    if {prompt_column, answer_column} <= columns:
        return _checked([TextExample(str(row[answer_column]), str(row[prompt_column])) for row in rows], name)
    if text_column in columns:
        return _checked([TextExample(str(row[text_column])) for row in rows], name)
    raise ValueError(
        f"`{name}` must have the columns {prompt_column!r} and {answer_column!r}, or {text_column!r}; it has "
        f"{', '.join(sorted(columns))}."
    )


def check_unseen(forget: Sequence[TextExample], others: Sequence[TextExample], name: str) -> None:
    """
    Raises:
        ValueError: Texts of the forget set are in another set, which must not hold them.
    """
    shared = len(set(forget) & set(others))
    if shared:
        raise ValueError(f"`{name}` holds {shared} of the {len(set(forget))} texts of `forget`; leave them out.")


def _rows(source: str, path: Path, split: str, name: str) -> Any:
    if path.suffix in (".jsonl", ".json"):
        # Not by `datasets`, which would leave a copy of the texts in its cache.
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


def _checked(texts: list[TextExample], name: str) -> list[TextExample]:
    if not texts:
        raise ValueError(f"`{name}` holds no texts.")
    empty = [place for place, text in enumerate(texts) if not text.answer.strip()]
    if empty:
        raise ValueError(
            f"`{name}`: {len(empty)} of {len(texts)} answers are empty, the first in row {empty[0]}; without an "
            "answer there is nothing to forget."
        )
    return texts


__all__ = ["TextExample", "check_unseen", "read_texts", "texts_of"]
