"""The report of `compare.py`: tables, curves, and images that every method generates from the same noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from hf_invwnn.diffusion import ForgetRatioJudge
from hf_invwnn.diffusion.plots import GeneratedRow, forgetting_table, plot_forgetting, plot_generated
from hf_invwnn.files import write_json


ORIGINAL = "original"


def write_report(
    title: str,
    folder: Path,
    judge: ForgetRatioJudge,
    original: Mapping[str, Any],
    finals: Mapping[str, Sequence[Mapping[str, Any]]],
    max_forget_ratio: float,
) -> None:
    """Writes `comparison.md` and `.json` of all seeds, and `curves.png` and `generated.png` of the first one."""
    write_json({"title": title, "original": original, "finals": finals}, folder / "comparison.json")
    (folder / "comparison.md").write_text(report(title, original, finals))
    assert judge.kernel_distance is not None
    histories = {name: seeds[0]["history"] for name, seeds in finals.items()}
    features = judge.kernel_distance.features
    if histories:
        plot_forgetting(histories, folder / "curves.png", max_forget_ratio, features=features, title=title)
    generated = {ORIGINAL: load_file(folder / original["images"]["final"])}
    generated |= {name: load_file(folder / seeds[0]["images"]["final"]) for name, seeds in finals.items()}
    # In the first ten columns the original model generates the class to forget, in the others another class.
    in_class = generated[ORIGINAL]["probabilities"].argmax(dim=1) == judge.forget_class
    columns = [*in_class.nonzero()[:10, 0].tolist(), *(~in_class).nonzero()[:10, 0].tolist()]
    rows = {}
    for name, tensors in generated.items():
        pixels = (tensors["images"][columns].mean(dim=1) / 2 + 0.5).clamp(0, 1).numpy()
        rows[name] = GeneratedRow(pixels, tensors["probabilities"][columns].numpy())
    plot_generated(rows, folder / "generated.png", judge.forget_class, title=title)
    logging.info("\n%s", (folder / "comparison.md").read_text())


def report(title: str, original: Mapping[str, Any], finals: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The tables of `final` and `fresh`, and the chosen settings."""
    parts = [f"## {title}"]
    for stage in ("final", "fresh"):
        rows = {
            name: [
                {
                    **record["metrics"][stage],
                    "tried": record["tried"],
                    "steps": record["history"][-1]["step"],
                    "seconds": record["seconds"],
                }
                for record in seeds
            ]
            for name, seeds in finals.items()
        }
        parts += [f"On the noise of `{stage}`:", forgetting_table(rows, original["metrics"][stage])]
    parts += [
        f"{name}: {seeds[0]['setting']}; {'; '.join(record['stopped'] for record in seeds)}."
        for name, seeds in finals.items()
    ]
    return "\n\n".join(parts) + "\n"
