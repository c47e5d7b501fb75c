"""What `compare.py` writes for people: tables, curves and the same noise under every method."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from hf_invwnn.diffusion import ForgetRatioJudge
from hf_invwnn.diffusion.plots import GeneratedRow, forgetting_table, plot_forgetting, plot_generated
from hf_invwnn.methods import METHODS


BEFORE = "before"


def write_report(
    title: str, folder: Path, judge: ForgetRatioJudge, before: dict[str, Any], finals: dict[str, Any], most: float
) -> None:
    """Writes `comparison.md`, `curves.png` and `generated.png`."""
    parts = [f"## {title}"]
    for stage in ("final", "fresh"):
        rows = {
            METHODS[name].title: {
                **found["metrics"][stage], **{key: found[key] for key in ("tried", "seconds")},
                "steps": found["history"][-1]["step"],
            }
            for name, found in finals.items()
        }  # fmt: skip
        parts += [f"On the noise of `{stage}`:", forgetting_table(rows, before[stage])]
    parts += [f"{METHODS[name].title}: {found['setting']}; {found['stopped']}." for name, found in finals.items()]
    (folder / "comparison.md").write_text("\n\n".join(parts) + "\n")
    assert judge.kernel_distance is not None
    histories = {METHODS[name].title: found["history"] for name, found in finals.items()}
    features = judge.kernel_distance.features
    if histories:
        plot_forgetting(histories, folder / "curves.png", most, features=features, title=title)
    shown = {name: load_file(folder / f"{name}_final.safetensors") for name in (BEFORE, *finals)}
    # Half of the columns is noise from which the model made the class before, half is the first of the rest.
    of_class = shown[BEFORE]["probabilities"].argmax(dim=1) == judge.forget_class
    columns = [*of_class.nonzero()[:10, 0].tolist(), *(~of_class).nonzero()[:10, 0].tolist()]
    rows = {}
    for name, kept in shown.items():
        pixels = (kept["images"][columns].mean(dim=1) / 2 + 0.5).clamp(0, 1).numpy()
        rows[METHODS[name].title if name in METHODS else name] = GeneratedRow(
            pixels, kept["probabilities"][columns].numpy()
        )
    plot_generated(rows, folder / "generated.png", judge.forget_class, title=title)
    logging.info("\n%s", (folder / "comparison.md").read_text())
