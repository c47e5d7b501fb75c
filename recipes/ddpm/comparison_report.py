"""The report of `compare.py`: tables, curves, and images that every method generates from the same noise."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from hf_invwnn.diffusion import ForgetRatioJudge
from hf_invwnn.diffusion.plots import GeneratedRow, forgetting_table, plot_forgetting, plot_generated
from hf_invwnn.methods import METHODS


ORIGINAL = "original"


def write_report(
    title: str,
    folder: Path,
    judge: ForgetRatioJudge,
    original: dict[str, Any],
    finals: dict[str, Any],
    max_forget_ratio: float,
) -> None:
    """Writes `comparison.md`, `curves.png` and `generated.png`."""
    parts = [f"## {title}"]
    for stage in ("final", "fresh"):
        rows = {}
        for name, record in finals.items():
            steps = record["history"][-1]["step"]
            cost = {"tried": record["tried"], "steps": steps, "seconds": record["seconds"]}
            rows[METHODS[name].title] = {**record["metrics"][stage], **cost}
        parts += [f"On the noise of `{stage}`:", forgetting_table(rows, original[stage])]
    parts += [f"{METHODS[name].title}: {record['setting']}; {record['stopped']}." for name, record in finals.items()]
    (folder / "comparison.md").write_text("\n\n".join(parts) + "\n")
    assert judge.kernel_distance is not None
    histories = {METHODS[name].title: record["history"] for name, record in finals.items()}
    features = judge.kernel_distance.features
    if histories:
        plot_forgetting(histories, folder / "curves.png", max_forget_ratio, features=features, title=title)
    generated = {name: load_file(folder / f"{name}_final.safetensors") for name in (ORIGINAL, *finals)}
    # In the first ten columns the original model generates the class to forget, in the others another class.
    in_class = generated[ORIGINAL]["probabilities"].argmax(dim=1) == judge.forget_class
    columns = [*in_class.nonzero()[:10, 0].tolist(), *(~in_class).nonzero()[:10, 0].tolist()]
    images = {}
    for name, tensors in generated.items():
        pixels = (tensors["images"][columns].mean(dim=1) / 2 + 0.5).clamp(0, 1).numpy()
        row = GeneratedRow(pixels, tensors["probabilities"][columns].numpy())
        images[METHODS[name].title if name in METHODS else name] = row
    plot_generated(images, folder / "generated.png", judge.forget_class, title=title)
    logging.info("\n%s", (folder / "comparison.md").read_text())
