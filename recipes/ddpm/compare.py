"""Compare InvWNN, Task Vector and NegGrad on one DDPM and one digit: KID at the same forget ratio.

    python recipes/ddpm/compare.py --config recipes/ddpm/configs/mnist16_compare.yaml

Every method gets its own sweep; the setting with the lowest KID at the target forget ratio is chosen, on noise that is
used for nothing else. The chosen setting runs again with more images from other noise, and its pipeline is evaluated
once more on noise that no run was stopped or chosen by. Finished runs are in `results.json` and are not repeated.
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
from hf_invwnn.diffusion import ClassForgetting, ForgetClassArguments, load_pipeline
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.image_classification import DataArguments, load_images
from hf_invwnn.trainer.quiet import QUIET


@dataclasses.dataclass
class Settings:
    title: str
    output_dir: str
    data: dict[str, Any]
    forget: dict[str, Any]  # fields of ForgetClassArguments for all runs; `sweep`, `final`, `fresh` add to them
    sweep: dict[str, Any]
    final: dict[str, Any]
    fresh: dict[str, Any]
    unlearning: dict[str, Any]  # fields of UnlearningArguments for all methods
    methods: dict[str, dict[str, list[Any]]]  # grids of UnlearningArguments fields and of arguments of the method


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

    def run_once(self, stage: str, method: str, setting: dict[str, Any]) -> dict[str, Any]:
        """Runs a method, unless the run is in the results already."""
        shared = [self.settings.forget, getattr(self.settings, stage), self.settings.unlearning]
        key = json.dumps([stage, method, setting, *shared], sort_keys=True)
        if key in self.results:
            return self.results[key]
        fields = {item.name for item in dataclasses.fields(UnlearningArguments)}
        arguments = {**QUIET, **self.settings.unlearning, **{n: v for n, v in setting.items() if n in fields}}
        args = UnlearningArguments(**{**arguments, "output_dir": str(self.folder / "unlearned" / method)})
        kwargs = {name: value for name, value in setting.items() if name not in fields}
        unlearner, record = self.forgetting(stage).run(method, args, **kwargs)
        if stage == "final":
            unlearner.save_model()
            pipeline = unlearner.model.pipeline
            record["metrics"] = {name: self.evaluate(name, method, pipeline) for name in ("final", "fresh")}
        self.results[key] = {"setting": setting, **record}
        write_json(self.results, self.path)
        logging.info("%s %s %s: %s, %s", stage, method, setting, record["unlearned"], record["stopped"])
        return self.results[key]

    def evaluate(self, stage: str, name: str, pipeline: Any) -> dict[str, float]:
        """Forget ratio and KID of a pipeline; its images are saved for the plot."""
        forgetting = self.forgetting(stage)
        generation, judge = forgetting.generate(pipeline), forgetting.judge
        assert generation is not None and judge is not None and judge.kernel_distance is not None
        distance = judge.kernel_distance(generation.images, generation.outputs.features)
        tensors = {"images": generation.images, "probabilities": generation.outputs.probabilities}
        save_file({n: value.contiguous() for n, value in tensors.items()}, self.folder / f"{name}_{stage}.safetensors")
        ratio = generation.metrics["eval_forget_ratio"]
        return {"forget_ratio": ratio, "kid": distance.mean, "kid_std": distance.std}

    def original(self) -> dict[str, dict[str, float]]:
        """Metrics of the original pipeline on the noise of `final` and `fresh`."""
        if ORIGINAL not in self.results:
            pipeline = load_pipeline(self.settings.forget["pipeline"]).pipeline
            self.results[ORIGINAL] = {name: self.evaluate(name, ORIGINAL, pipeline) for name in ("final", "fresh")}
            write_json(self.results, self.path)
        return self.results[ORIGINAL]


def choose(records: list[dict[str, Any]], max_forget_ratio: float) -> dict[str, Any] | None:
    """The record with the lowest KID among those that reached the target; `None` if none did."""
    reached = [record for record in records if record["unlearned"]["forget_ratio"] <= max_forget_ratio]
    return min(reached, key=lambda record: record["unlearned"]["kid"]) if reached else None


def main() -> None:
    parser = HfArgumentParser([], description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the comparison")
    logging.basicConfig(level=logging.INFO)
    comparison = Comparison(Settings(**yaml.safe_load(parser.parse_args().config.read_text())))
    settings, original, finals = comparison.settings, comparison.original(), {}
    target = comparison.forgetting("final").arguments.max_forget_ratio
    for method, grid in settings.methods.items():
        tried = [comparison.run_once("sweep", method, setting) for setting in MethodSweep(method, grid).settings()]
        chosen = choose(tried, target)
        if chosen is None:
            logging.warning("%s reached a forget ratio of %g %% with no setting", method, target)
            continue
        finals[method] = {**comparison.run_once("final", method, chosen["setting"]), "tried": len(tried)}
    judge = comparison.forgetting("final").judge
    assert judge is not None
    write_report(settings.title, comparison.folder, judge, original, finals, target)


if __name__ == "__main__":
    main()
