"""See a model forget: what it predicts of forgotten and kept examples before, along the way, and after.

    pip install -c constraints.txt -e ".[space]"
    python recipes/space/app.py

Shows the bundles of `build_bundle.py` that lie in `bundles` beside this file, or in `--bundles`. If there is none, the
demo is run and bundled first.
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
from hf_invwnn.image_classification import predict
from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.metrics import per_example


STYLE = """
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
.sides table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.sides td, .sides th { padding: .15rem .4rem; text-align: center; border-bottom: 1px solid #8884; }
.sides img { width: 36px; height: 36px; image-rendering: pixelated; display: inline-block; }
.sides .other { opacity: .65; } .sides .as-labelled { font-weight: 700; }
.curve svg { width: 100%; max-height: 22rem; } .sides small { opacity: .7; }
"""
BESIDE = Path(__file__).parent / "bundles"
FONTS = ["system-ui", "DejaVu Sans", "sans-serif"]


@cache
def read_bundle(folder: Path) -> dict[str, Any]:
    """History, examples, their images and tensors, and the folders of the points."""
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
    """What the model says of each example, and its confidence in the label."""
    loaded = AutoModelForImageClassification.from_pretrained(model, use_safetensors=True)
    found = per_example(*predict(loaded, read_bundle(folder)["tensors"]))
    return list(zip(found.predictions.tolist(), found.confidences.tolist(), strict=True))


def show(folder: str, point: float) -> tuple[str, str, str]:
    """Where the model is on its way, the curve up to there, and the examples."""
    bundle = read_bundle(Path(folder))
    at = min(int(point), len(bundle["points"]) - 1)
    here = bundle["history"][at]
    said = (
        f"**Rewind {here['rewind']:.0f}**: {here['ua']:.1f} % of the forget set is no longer predicted as labelled; "
        f"accuracy on retained examples {100 * here['eval_retain_accuracy']:.1f} %, on unseen ones "
        f"{100 * here['eval_test_accuracy']:.1f} %."
    )
    models = {"before": bundle["points"][0], "here": bundle["points"][at], "retrained": Path(folder) / "oracle"}
    found = {name: predictions(Path(folder), model) for name, model in models.items()}
    sides = (_side(title, which, bundle, found) for title, which in (("Forgotten", True), ("Kept", False)))
    curve = accuracy_curve(bundle["history"][: at + 1]) or ""
    return said, f'<div class="curve">{curve}</div>', f'<div class="sides">{"".join(sides)}</div>'


def _side(title: str, forgotten: bool, bundle: dict[str, Any], found: dict[str, list[tuple[int, float]]]) -> str:
    rows = [f"<th>image</th><th>label</th>{''.join(f'<th>{name}</th>' for name in found)}"]
    for index, is_forgotten in enumerate(bundle["forgotten"]):
        if is_forgotten is forgotten:
            label = bundle["labels"][index]
            image = f'<td><img alt="" src="data:image/png;base64,{bundle["images"][index]}"></td>'
            cells = (_cell(*predicted[index], label) for predicted in found.values())
            rows.append(f"{image}<td>{label}</td>{''.join(cells)}")
    return f"<div><h3>{title}</h3><table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table></div>"


def _cell(prediction: int, confidence: float, label: int) -> str:
    kind = "as-labelled" if prediction == label else "other"
    return f'<td class="{kind}">{prediction} <small>{confidence:.2f}</small></td>'


def make_app(folders: list[Path]) -> gr.Blocks:
    """The page, for bundles in these folders."""

    def last(folder: str) -> int:
        return len(read_bundle(Path(folder))["points"]) - 1

    first = str(folders[0])
    with gr.Blocks(title="A model that forgets", analytics_enabled=False) as app:
        gr.Markdown(
            "# A model that forgets\nBold: predicted as labelled. Small: confidence in the label. The labels of the "
            "forgotten examples are wrong, and the model had memorised them."
        )
        folder = gr.Dropdown([(path.name, str(path)) for path in folders], value=first, label="model")
        point = gr.Slider(0, last(first), value=last(first), step=1, label="point of the curve")
        said, curve, sides = show(first, last(first))
        outputs = [gr.Markdown(said), gr.HTML(curve), gr.HTML(sides)]
        point.change(show, [folder, point], outputs, api_name="show")
        moved = folder.change(lambda chosen: gr.Slider(maximum=last(chosen), value=last(chosen)), folder, point)
        moved.then(show, [folder, point], outputs)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = BESIDE if BESIDE.is_dir() else Path("outputs/space")
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
