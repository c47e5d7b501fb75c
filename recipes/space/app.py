"""An app that shows what a model predicts for forgotten and retained examples after every round of an unlearning run.

    pip install -c constraints.txt -e ".[space]"
    python recipes/space/app.py

The app shows the bundles that `build_bundle.py` wrote to the folder `bundles` next to this file, or to `--bundles`. If
there are none, it first runs the demo and builds a bundle from it.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from build_bundle import build_bundle
from datasets import Dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_invwnn.audit.charts import accuracy_curve
from hf_invwnn.cli.demo import run_demo
from hf_invwnn.image_classification import ImageTensors, predict
from hf_invwnn.metrics import per_example


STYLE = """
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
.sides table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.sides td, .sides th { padding: .15rem .4rem; text-align: center; border-bottom: 1px solid #8884; }
.sides img { width: 36px; height: 36px; image-rendering: pixelated; display: inline-block; }
.sides .other { opacity: .65; } .sides .as-labelled { font-weight: 700; }
.curve svg { width: 100%; max-height: 22rem; } .sides small { opacity: .7; }
"""
BUNDLES = Path(__file__).parent / "bundles"
FONTS = ["system-ui", "DejaVu Sans", "sans-serif"]


@cache
def read_bundle(folder: Path) -> dict[str, Any]:
    """The history, the model folders of all rounds, and the examples as images and as inputs of the models."""
    examples = Dataset.from_parquet(str(folder / "examples.parquet"))
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    images = []
    for image in examples["image"]:
        file = io.BytesIO()
        image.save(file, format="PNG")
        images.append(base64.b64encode(file.getvalue()).decode())
    return {
        "history": json.loads((folder / "history.json").read_text()),
        "points": sorted((folder / "points").iterdir()),
        "forgotten": examples["forgotten"][:],
        "labels": examples["label"][:],
        "images": images,
        "tensors": ImageTensors.from_dataset(examples, processor),
    }


@cache
def predictions(folder: Path, model: Path) -> list[tuple[int, float]]:
    """The class that the model predicts for each example, and its confidence in the label."""
    loaded = AutoModelForImageClassification.from_pretrained(model, use_safetensors=True)
    results = per_example(*predict(loaded, read_bundle(folder)["tensors"]))
    return list(zip(results.predictions.tolist(), results.confidences.tolist(), strict=True))


def show(folder: str, point: float) -> tuple[str, str, str]:
    """The metrics of a round, the curve up to it, and the predictions for the examples."""
    bundle = read_bundle(Path(folder))
    index = min(int(point), len(bundle["points"]) - 1)
    metrics = bundle["history"][index]
    summary = (
        f"**Round {metrics['round']:.0f}**: the model no longer predicts the label of {metrics['ua']:.1f} % of the "
        f"forget set. Its accuracy is {100 * metrics['eval_retain_accuracy']:.1f} % on retained examples and "
        f"{100 * metrics['eval_test_accuracy']:.1f} % on test examples."
    )
    models = {
        "original": bundle["points"][0],
        "this round": bundle["points"][index],
        "retrained": Path(folder) / "retrained",
    }
    columns = {name: predictions(Path(folder), model) for name, model in models.items()}
    sides = (_side(title, which, bundle, columns) for title, which in (("Forgotten", True), ("Retained", False)))
    curve = accuracy_curve(bundle["history"][: index + 1]) or ""
    return summary, f'<div class="curve">{curve}</div>', f'<div class="sides">{"".join(sides)}</div>'


def _side(title: str, forgotten: bool, bundle: dict[str, Any], columns: dict[str, list[tuple[int, float]]]) -> str:
    rows = [f"<th>image</th><th>label</th>{''.join(f'<th>{name}</th>' for name in columns)}"]
    for index, is_forgotten in enumerate(bundle["forgotten"]):
        if is_forgotten is forgotten:
            label = bundle["labels"][index]
            image = f'<td><img alt="" src="data:image/png;base64,{bundle["images"][index]}"></td>'
            cells = (_cell(*predicted[index], label) for predicted in columns.values())
            rows.append(f"{image}<td>{label}</td>{''.join(cells)}")
    return f"<div><h3>{title}</h3><table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table></div>"


def _cell(prediction: int, confidence: float, label: int) -> str:
    kind = "as-labelled" if prediction == label else "other"
    return f'<td class="{kind}">{prediction} <small>{confidence:.2f}</small></td>'


def make_app(folders: list[Path]) -> gr.Blocks:
    """The page that shows the bundles in these folders."""

    def last(folder: str) -> int:
        return len(read_bundle(Path(folder))["points"]) - 1

    first = str(folders[0])
    with gr.Blocks(title="A model that forgets", analytics_enabled=False) as app:
        gr.Markdown(
            "# A model that forgets\nA prediction is bold if it is the label of the example; the small number is the "
            "model's confidence in that label. The forgotten examples have wrong labels, which the original model has "
            "memorised."
        )
        folder = gr.Dropdown([(path.name, str(path)) for path in folders], value=first, label="run")
        point = gr.Slider(0, last(first), value=last(first), step=1, label="round")
        summary, curve, sides = show(first, last(first))
        outputs = [gr.Markdown(summary), gr.HTML(curve), gr.HTML(sides)]
        point.change(show, [folder, point], outputs, api_name="show")
        moved = folder.change(lambda chosen: gr.Slider(maximum=last(chosen), value=last(chosen)), folder, point)
        moved.then(show, [folder, point], outputs)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = BUNDLES if BUNDLES.is_dir() else Path("outputs/space")
    parser.add_argument("--bundles", type=Path, default=default, help="folder of the bundles")
    parser.add_argument("--port", type=int, default=7860, help="port to serve on")
    options = parser.parse_args()
    if not any(options.bundles.glob("*/history.json")):
        run_demo(options.bundles / "demo-run")
        build_bundle(options.bundles / "demo-run", options.bundles / "digits")
    app = make_app(sorted(path.parent for path in options.bundles.glob("*/history.json")))
    app.launch(server_port=options.port, css=STYLE, theme=gr.themes.Default(font=FONTS, font_mono=FONTS[1:]))


if __name__ == "__main__":
    main()
