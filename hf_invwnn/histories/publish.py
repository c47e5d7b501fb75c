"""Weight histories as the contents of a Hub repository: a data set card and parquet files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..audit.tables import markdown_table
from ..hub.cards import UNKNOWN_LICENSE, make_card, render
from ..hub.contents import Contents
from .rows import HISTORY_FEATURES


_RUN_COLUMNS = ("run_id", "run_type", "architecture", "dataset")


def histories_contents(folder: str | os.PathLike, repo_id: str, license: str | None = None) -> Contents:
    """
    Describes a folder of weight histories for [`~hf_invwnn.hub.push`].

    Args:
        folder (`str` or `os.PathLike`): Holds the parquet files.
        repo_id (`str`): The repository; for the card.
        license (`str`, *optional*): Licence for the card.

    Raises:
        ValueError: A file has other columns than weight histories.
    """
    from datasets import Dataset

    paths = sorted(Path(folder).glob("*.parquet"))
    expected = {*HISTORY_FEATURES, "history", "counterfactual"}
    families: Counter[tuple[str, str]] = Counter()
    num_rows = 0
    for path in paths:
        dataset = Dataset.from_parquet(str(path), keep_in_memory=True).with_format(None)
        if set(dataset.column_names) != expected:
            differing = ", ".join(sorted(set(dataset.column_names) ^ expected))
            raise ValueError(f"`{path}` does not hold weight histories: missing or unexpected columns {differing}.")
        num_rows += len(dataset)
        runs = {key[0]: key for key in zip(*(dataset[name][:] for name in _RUN_COLUMNS), strict=True)}
        families.update((f"{architecture} x {dataset}", kind) for _, kind, architecture, dataset in runs.values())
    files: dict[str, Path | bytes] = {
        f"data/train-{number:05d}-of-{len(paths):05d}.parquet": path for number, path in enumerate(paths)
    }
    facts = {"num_rows": num_rows, "num_runs": sum(families.values()), "families": families}
    return Contents(histories_card(facts, repo_id, license), files, repo_type="dataset")


def histories_card(facts: Mapping[str, Any], repo_id: str, license: str | None = None) -> DatasetCard:
    """
    The card of a dataset of weight histories.

    Args:
        facts (`dict`): `num_rows`, `num_runs` and `families`, as [`histories_contents`] counts them.
        repo_id (`str`): Where it goes.
        license (`str`, *optional*): Its licence.
    """
    rows = [["family", "run type", "runs"]]
    rows += [[family, kind, str(count)] for (family, kind), count in sorted(facts["families"].items())]
    data = DatasetCardData(
        license=license or UNKNOWN_LICENSE,
        tags=["machine-unlearning", "weight-histories"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    )
    text = render(
        __package__, "histories.md", repo_id=repo_id, runs_table=markdown_table(rows, text_columns=2), **facts
    )
    return make_card(DatasetCard, data, text)


__all__ = ["histories_card", "histories_contents"]
