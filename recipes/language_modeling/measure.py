"""What language models still know of people: losses, probabilities, extraction, answers that they write.

    python recipes/language_modeling/measure.py --model outputs/people/base --people outputs/people \
        --adapters outputs/people/original outputs/people/rewound outputs/people/retrained
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.stats import bootstrap
from transformers import DataCollatorForSeq2Seq, HfArgumentParser

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.language_models import TextExample, evaluate_texts, load_language_model, read_texts, tokenize_texts
from hf_invwnn.language_models.tokenizing import prompt_tokens
from hf_invwnn.metrics import answer_loss, rouge_l


# What a model knows besides the people; nobody is named.
GENERAL = (
    "Water boils at a lower temperature on a mountain because the pressure of the air is lower there.",
    "The capital of France is Paris, and the river that flows through it is called the Seine.",
    "Plants use the energy of sunlight to turn carbon dioxide and water into sugar and oxygen.",
    "A triangle with sides of three, four and five units has a right angle.",
    "The heart pumps blood through the body, and the lungs fill it with oxygen.",
    "Ice floats on water because water expands when it freezes.",
    "The moon takes about a month to travel once around the Earth.",
    "Bread is made of flour, water, yeast and a little salt, and is baked in an oven.",
)
SETS = ("forget", "kept", "unseen")


@dataclass
class MeasureArguments:
    model: str = field(metadata={"help": "The model that the adapters belong to."})
    people: str = field(metadata={"help": "Folder of the files that people.py wrote."})
    adapters: list[str] = field(
        default_factory=list, metadata={"help": "Folders of adapters, a row of the table each."}
    )
    written: int = field(default=20, metadata={"help": "Answers of each set that a model writes, at most."})
    output: str | None = field(default=None, metadata={"help": "File for the figures, as JSON."})


def main(arguments: MeasureArguments) -> None:
    results = {Path(adapter).name: measure(arguments, adapter) for adapter in arguments.adapters}
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    figures = ("loss", "probability", "rouge", "paraphrased")
    heading = ["model", *(f"{name}: {figure}" for name in SETS for figure in figures), "general perplexity"]
    rows = [
        [model, *(f"{found[name][figure]:.2f}" for name in SETS for figure in figures), f"{found['general']:.2f}"]
        for model, found in results.items()
    ]
    sys.stdout.write(markdown_table([heading, *rows]) + "\n")


def measure(arguments: MeasureArguments, adapter: str) -> dict:
    """Figures of one adapter: of each set of people, and the perplexity of general sentences."""
    model, tokenizer = load_language_model(arguments.model, adapter)
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)

    def evaluated(texts):
        return evaluate_texts(model, tokenize_texts(texts, tokenizer, chat_template=False), collate)

    found = {"general": evaluated([TextExample(text) for text in GENERAL]).perplexity}
    for name in SETS:
        path = str(Path(arguments.people) / f"{name}.jsonl")
        texts = read_texts(path)
        again = read_texts(path, prompt_column="paraphrase")
        answers = [write(model, tokenizer, text) for text in texts[: arguments.written]]
        scores = [rouge_l(answer, text.answer).recall for answer, text in zip(answers, texts, strict=False)]
        report = evaluated(texts)
        found[name] = report.summary()
        found[name] |= {
            "intervals": {"loss": interval(answer_loss(report.log_probs)), "extraction": interval(report.extracted)},
            "rouge": sum(scores) / len(scores),
            "paraphrased": evaluated(again).loss,
            "answers": [
                {"prompt": text.prompt, "written": answer} for answer, text in zip(answers, texts, strict=False)
            ],
        }
    return found


def interval(values) -> list[float]:
    """95 % interval of a mean over texts, by resampling them."""
    ends = bootstrap((np.asarray(values),), np.mean, method="percentile", rng=0).confidence_interval
    return [float(ends.low), float(ends.high)]


def write(model, tokenizer, text: TextExample) -> str:
    """What a model answers, by greedy decoding."""
    ids = torch.tensor([prompt_tokens(text, tokenizer, chat_template=False)])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        written = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=24, pad_token_id=tokenizer.pad_token_id
        )
    return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


if __name__ == "__main__":
    main(HfArgumentParser(MeasureArguments).parse_args_into_dataclasses()[0])
