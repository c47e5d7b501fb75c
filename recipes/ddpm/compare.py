"""InvWNN, Task Vector and NegGrad make the same DDPM forget the same digit: KID where each has forgotten it.

    python recipes/ddpm/compare.py --config recipes/ddpm/configs/mnist16_compare.yaml

Every method gets a sweep of its own, chosen by the lowest KID at the wanted forget ratio, on noise that is used for
nothing else. The chosen setting is run again with more images from other noise, and judged once more on noise by which
nothing was stopped or chosen. What has run stands in `results.json` and is not run again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import yaml
from comparison_report import BEFORE, write_report
from safetensors.torch import save_file
from transformers import HfArgumentParser

from hf_invwnn import UnlearningArguments
from hf_invwnn.benchmark import MethodSweep
from hf_invwnn.diffusion import ClassForgetting, ForgetClassArguments, load_pipeline
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import DataArguments, load_images


QUIET = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}


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
    methods: dict[str, dict[str, list[Any]]]  # grids of them, and of what is a method's own


class Comparison:
    """The runs of one comparison, in a results file that grows with each."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.folder = settings, Path(settings.output_dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "results.json"
        self.results: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.train, self.test = load_images(DataArguments(**settings.data), 0)
        self._forgettings: dict[str, ClassForgetting] = {}

    def forgetting(self, stage: str) -> ClassForgetting:
        """The sweep is compared with training images, the rest with held-out ones."""
        if stage not in self._forgettings:
            arguments = ForgetClassArguments(**{**self.settings.forget, **getattr(self.settings, stage)})
            reference = self.train if stage == "sweep" else self.test
            self._forgettings[stage] = ClassForgetting(arguments, self.train, reference, progress=False)
        return self._forgettings[stage]

    def once(self, stage: str, method: str, setting: dict[str, Any]) -> dict[str, Any]:
        """Runs a method, unless the results have it already."""
        shared = [self.settings.forget, getattr(self.settings, stage), self.settings.unlearning]
        key = json.dumps([stage, method, setting, *shared], sort_keys=True)
        if key in self.results:
            return self.results[key]
        fields = {item.name for item in dataclasses.fields(UnlearningArguments)}
        arguments = {**QUIET, **self.settings.unlearning, **{n: v for n, v in setting.items() if n in fields}}
        args = UnlearningArguments(**{**arguments, "output_dir": str(self.folder / "unlearned" / method)})
        own = {name: value for name, value in setting.items() if name not in fields}
        unlearner, record = self.forgetting(stage).run(method, args, **own)
        if stage == "final":
            unlearner.save_model()
            record["metrics"] = {name: self.judge(name, method, unlearner.pipeline) for name in ("final", "fresh")}
        self.results[key] = {"setting": setting, **record}
        write_json(self.results, self.path)
        logging.info("%s %s %s: %s, %s", stage, method, setting, record["after"], record["stopped"])
        return self.results[key]

    def judge(self, stage: str, name: str, pipeline: Any) -> dict[str, float]:
        """Forget ratio and KID of a pipeline; what it generates is kept for the picture."""
        forgetting = self.forgetting(stage)
        generation, judge = forgetting.generate(pipeline), forgetting.judge
        assert generation is not None and judge is not None and judge.kernel_distance is not None
        distance = judge.kernel_distance(generation.images, generation.verdicts.features)
        shown = {"images": generation.images, "probabilities": generation.verdicts.probabilities}
        save_file({n: value.contiguous() for n, value in shown.items()}, self.folder / f"{name}_{stage}.safetensors")
        ratio = generation.metrics["eval_forget_ratio"]
        return {"forget_ratio": ratio, "kid": distance.mean, "kid_std": distance.std}

    def before(self) -> dict[str, dict[str, float]]:
        if BEFORE not in self.results:
            pipeline = load_pipeline(self.settings.forget["pipeline"]).pipeline
            self.results[BEFORE] = {name: self.judge(name, BEFORE, pipeline) for name in ("final", "fresh")}
            write_json(self.results, self.path)
        return self.results[BEFORE]


def choose(records: list[dict[str, Any]], most: float) -> dict[str, Any] | None:
    """The lowest KID of those that have forgotten enough."""
    reached = [record for record in records if record["after"]["forget_ratio"] <= most]
    return min(reached, key=lambda record: record["after"]["kid"]) if reached else None


def main() -> None:
    parser = HfArgumentParser([], description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the comparison")
    logging.basicConfig(level=logging.INFO)
    comparison = Comparison(Settings(**yaml.safe_load(parser.parse_args().config.read_text())))
    settings, before, finals = comparison.settings, comparison.before(), {}
    most = comparison.forgetting("final").arguments.max_forget_ratio
    for method, grid in settings.methods.items():
        tried = [comparison.once("sweep", method, setting) for setting in MethodSweep(method, grid).settings()]
        chosen = choose(tried, most)
        if chosen is None:
            logging.warning("%s reached a forget ratio of %g %% with no setting", method, most)
            continue
        finals[method] = {**comparison.once("final", method, chosen["setting"]), "tried": len(tried)}
    forgetting = comparison.forgetting("final")
    assert forgetting.judge is not None
    write_report(settings.title, comparison.folder, forgetting.judge, before, finals, most)


if __name__ == "__main__":
    main()
