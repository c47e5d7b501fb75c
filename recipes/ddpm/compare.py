"""Compare ways to forget one digit of a DDPM: KID at the same forget ratio.

    python recipes/ddpm/compare.py --config recipes/ddpm/configs/mnist16_compare.yaml

Every row gets its own sweep with the first seed; the setting with the lowest KID at the target forget ratio is chosen,
on noise that is used for nothing else. The chosen setting runs again with every seed, with more images from other
noise, and each pipeline is evaluated once more on noise that no run was stopped or chosen by. Finished runs are in
`results.json` and are not repeated.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import yaml
from comparison_report import ORIGINAL, write_report
from safetensors.torch import save_file
from transformers import HfArgumentParser

from hf_invwnn import UnlearningArguments
from hf_invwnn.benchmark import MethodSweep
from hf_invwnn.diffusion import ClassForgetting, ForgetClassArguments, OwnSamples, load_pipeline
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.image_classification import DataArguments, load_images
from hf_invwnn.trainer.quiet import QUIET


@dataclasses.dataclass
class Settings:
    title: str
    output_dir: str
    data: dict[str, Any]
    # Fields of ForgetClassArguments for all runs; `sweep`, `final`, `fresh` add to them.
    forget: dict[str, Any]
    sweep: dict[str, Any]
    final: dict[str, Any]
    fresh: dict[str, Any]
    unlearning: dict[str, Any]  # fields of UnlearningArguments for all methods
    # Title -> `method`, and grids of UnlearningArguments fields and of arguments of the method.
    rows: dict[str, dict[str, Any]]
    seeds: list[int] = dataclasses.field(default_factory=lambda: [0])


class Comparison:
    """The runs of one comparison; each is added to the results file when it has finished."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.folder = settings, Path(settings.output_dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "results.json"
        self.results: dict[str, Any] = read_json_object(self.path) if self.path.exists() else {}
        self.train, self.test = load_images(DataArguments(**settings.data), 0)
        self._forgettings: dict[str, ClassForgetting] = {}

    def forgetting(self, stage: str) -> ClassForgetting:
        """The sweep computes KID to training images, `final` and `fresh` to test images."""
        if stage not in self._forgettings:
            arguments = ForgetClassArguments(**{**self.settings.forget, **getattr(self.settings, stage)})
            reference = self.train if stage == "sweep" else self.test
            self._forgettings[stage] = ClassForgetting(arguments, self.train, reference, progress=False)
        return self._forgettings[stage]

    def run_once(self, stage: str, row: str, setting: dict[str, Any], seed: int) -> dict[str, Any]:
        """Runs a row with one setting, unless the run is in the results already."""
        method = self.settings.rows[row]["method"]
        shared = [self.settings.forget, getattr(self.settings, stage), self.settings.unlearning]
        key = json.dumps([stage, method, setting, seed, *shared], sort_keys=True)
        if key in self.results:
            return self.results[key]
        fields = {item.name for item in dataclasses.fields(UnlearningArguments)}
        arguments = {**QUIET, **self.settings.unlearning, **{n: v for n, v in setting.items() if n in fields}}
        folder = self.folder / "unlearned" / f"{row.replace(' ', '_')}_{seed}"
        args = UnlearningArguments(**{**arguments, "output_dir": str(folder), "seed": seed})
        kwargs = {name: value for name, value in setting.items() if name not in fields}
        if "own_samples" in kwargs:
            kwargs["surrogates"] = OwnSamples(seed=seed, **kwargs.pop("own_samples"))
        unlearner, record = self.forgetting(stage).run(method, args, **kwargs)
        if stage == "final":
            unlearner.save_model()
            record |= self.evaluate(f"{row.replace(' ', '_')}_{seed}", unlearner.model.pipeline)
        self.results[key] = {"setting": setting, **record}
        write_json(self.results, self.path)
        logging.info("%s %s %d %s: %s, %s", stage, row, seed, setting, record["unlearned"], record["stopped"])
        return self.results[key]

    def evaluate(self, name: str, pipeline: Any) -> dict[str, dict[str, Any]]:
        """Forget ratio and KID of a pipeline on the noise of `final` and `fresh`; its images are kept for the plot."""
        found: dict[str, dict[str, Any]] = {"metrics": {}, "images": {}}
        for stage in ("final", "fresh"):
            forgetting = self.forgetting(stage)
            generation, judge = forgetting.generate(pipeline), forgetting.judge
            assert generation is not None and judge is not None and judge.kernel_distance is not None
            distance = judge.kernel_distance(generation.images, generation.outputs.features)
            tensors = {"images": generation.images, "probabilities": generation.outputs.probabilities}
            found["images"][stage] = f"{name}_{stage}.safetensors"
            save_file({n: value.contiguous() for n, value in tensors.items()}, self.folder / found["images"][stage])
            ratio = generation.metrics["eval_forget_ratio"]
            found["metrics"][stage] = {"forget_ratio": ratio, "kid": distance.mean, "kid_std": distance.std}
        return found

    def original(self) -> dict[str, dict[str, Any]]:
        """Metrics of the original pipeline on the noise of `final` and `fresh`."""
        if ORIGINAL not in self.results:
            pipeline = load_pipeline(self.settings.forget["pipeline"]).pipeline
            self.results[ORIGINAL] = self.evaluate(ORIGINAL, pipeline)
            write_json(self.results, self.path)
        return self.results[ORIGINAL]


def choose(records: list[dict[str, Any]], max_forget_ratio: float) -> dict[str, Any] | None:
    """The record with the lowest KID among those that reached the target; `None` if none did."""
    reached = [record for record in records if record["unlearned"]["forget_ratio"] <= max_forget_ratio]
    return min(reached, key=lambda record: record["unlearned"]["kid"]) if reached else None


def main() -> None:
    parser = HfArgumentParser([], description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the comparison")
    parser.add_argument("--dataset", help="Folder or Hub id in place of the data of the file")
    parser.add_argument("--sweep_only", action="store_true", help="Choose the settings, and leave the rest for later")
    words = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    settings = Settings(**yaml.safe_load(words.config.read_text()))
    if words.dataset is not None:
        settings.data = {**settings.data, "dataset": words.dataset}
    comparison = Comparison(settings)
    first, chosen = settings.seeds[0], {}
    target = comparison.forgetting("sweep").arguments.max_forget_ratio
    for row, values in settings.rows.items():
        grid = {name: value for name, value in values.items() if name != "method"}
        settings_of_row = MethodSweep(values["method"], grid).settings()
        if len(settings_of_row) == 1:  # there is nothing to choose
            chosen[row] = settings_of_row[0], 1
            continue
        tried = [comparison.run_once("sweep", row, setting, first) for setting in settings_of_row]
        best = choose(tried, target)
        if best is None:
            logging.warning("%s reached a forget ratio of %g %% with no setting", row, target)
            continue
        chosen[row] = best["setting"], len(tried)
        logging.info("%s: %s is chosen", row, best["setting"])
    if words.sweep_only:
        return
    finals = {
        row: [{**comparison.run_once("final", row, setting, seed), "tried": tried} for seed in settings.seeds]
        for row, (setting, tried) in chosen.items()
    }
    final = comparison.forgetting("final")
    assert final.judge is not None
    end = final.arguments.max_forget_ratio
    write_report(settings.title, comparison.folder, final.judge, comparison.original(), finals, end)


if __name__ == "__main__":
    main()
