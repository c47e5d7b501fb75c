"""`hf-invwnn unlearn-text`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..audit.tables import markdown_table
from ..files import write_json
from ..language_models import evaluate_texts, load_language_model, read_texts, tokenize_texts, with_adapter
from ..language_models.loading import context_length
from ..language_models.texts import check_disjoint
from ..methods.registry import METHODS
from ..surrogates import OwnContinuations, UnlabelledExamples
from ..trainer.arguments import UnlearningArguments
from .parser import parse_command


@dataclass
class TextArguments:
    model: str = field(metadata={"help": "Folder, Hub id or GGUF file of a causal language model."})
    forget: str = field(metadata={"help": "Texts to forget: JSON lines, a text file, or a data set."})
    unseen: str | None = field(default=None, metadata={"help": "Texts of the same kind that were never seen."})
    kept: str | None = field(default=None, metadata={"help": "Texts to keep; measured, and used by some methods."})
    adapter: str | None = field(default=None, metadata={"help": "PEFT adapter of the model, which then changes."})
    method: str = field(default="invwnn", metadata={"help": f"One of {', '.join(METHODS)}."})
    lora_rank: int = field(default=8, metadata={"help": "Rank of the LoRA that is made; 0: all weights change."})
    merge: bool = field(default=False, metadata={"help": "Also save a merged model, in the folder 'merged'."})
    surrogates: str | None = field(
        default=None,
        metadata={"help": "'edited', 'mixed_embeddings', 'continuations' of the model's own, or the 'unseen' texts."},
    )
    prompt_column: str = field(default="prompt", metadata={"help": "Column of the prompts."})
    answer_column: str = field(default="answer", metadata={"help": "Column of the answers."})
    text_column: str = field(default="text", metadata={"help": "Column of texts without prompts."})
    plain: bool = field(default=False, metadata={"help": "Do not use the chat template of the tokenizer."})
    prefix: int = field(default=5, metadata={"help": "Tokens of an answer that extraction begins from."})


@dataclass
class TextUnlearningArguments(UnlearningArguments):
    # Pretrained models lose more of the rest at 1e-3, the default for models trained from scratch.
    learning_rate: float = field(default=2e-4, metadata={"help": "The initial learning rate."})
    num_rewinds: int = field(default=30, metadata={"help": "Maximum number of rewinds."})
    snapshot_strategy: str = field(default="steps", metadata={"help": "Interval between snapshots."})
    logging_strategy: IntervalStrategy | str = field(default="no", metadata={"help": "When losses are logged."})
    save_strategy: SaveStrategy | str = field(default="no", metadata={"help": "When checkpoints are saved."})


def main(words: Sequence[str], summary: str) -> None:
    arguments, args = parse_command("unlearn-text", words, [TextArguments, TextUnlearningArguments], summary)
    print(unlearn_text(arguments, args))


def unlearn_text(arguments: TextArguments, args: UnlearningArguments) -> str:
    """
    Makes a language model forget texts, and saves it with `texts.json`, the figures before and after.

    Returns:
        `str`: A table of the result.

    Raises:
        ValueError: An argument cannot work; the message names it.
    """
    from transformers import DataCollatorForSeq2Seq

    check_arguments(arguments, args)
    texts = {name: _read(arguments, name) for name in ("forget", "unseen", "kept") if getattr(arguments, name)}
    for name, others in texts.items():
        if name != "forget":
            check_disjoint(texts["forget"], others, name)
    model, tokenizer = load_language_model(arguments.model, arguments.adapter)
    data = {
        name: tokenize_texts(rows, tokenizer, False if arguments.plain else None, context_length(model), name)
        for name, rows in texts.items()
    }
    if arguments.lora_rank and not arguments.adapter:
        model = with_adapter(model, arguments.lora_rank, args.seed)
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
    method = METHODS[arguments.method]
    retained = {"retain_dataset": data["kept"]} if method.needs_retain else {}
    unlearner = method(
        model,
        args,
        forget_dataset=data["forget"],
        eval_dataset=data.get("unseen"),
        surrogates=_surrogates(arguments.surrogates, data, collate),
        data_collator=collate,
        processing_class=tokenizer,
        **retained,
    )
    trained: Any = unlearner
    folder = Path(str(args.output_dir))

    def measured() -> dict[str, dict[str, float]]:
        return {
            name: evaluate_texts(trained.model, rows, collate, arguments.prefix).summary()
            for name, rows in data.items()
        }

    before = measured()
    unlearner.train()
    after = measured()
    unlearner.save_model()
    results = {"before": before, "after": after, "outcome": unlearner.outcome, "stopped": unlearner.stop_reason}
    write_json(results, folder / "texts.json")
    if arguments.merge and hasattr(trained.model, "merge_and_unload"):
        trained.model.merge_and_unload().save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
    end = f"Stopped: {unlearner.stop_reason}.\nThe model and texts.json are in {args.output_dir}."
    return f"{_table(before, after)}\n{end}"


def check_arguments(arguments: TextArguments, args: UnlearningArguments) -> None:
    """
    Checks what needs neither texts nor model, and sets the goal: by default the loss on unseen texts.

    Raises:
        ValueError: An argument cannot work; the message names it.
    """
    if arguments.method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {arguments.method!r}.")
    if METHODS[arguments.method].needs_retain and not arguments.kept:
        raise ValueError(f"`kept`: {arguments.method} trains on texts to keep; give them, or another method.")
    if arguments.surrogates == "unseen" and not arguments.unseen:
        raise ValueError("`surrogates`: 'unseen' stands for the texts of `unseen`, which are missing.")
    if arguments.lora_rank < 0:
        raise ValueError(f"`lora_rank` must be 0 (all weights) or positive, got {arguments.lora_rank}; 8 is usual.")
    if arguments.prefix < 0:
        raise ValueError(f"`prefix` must be 0 or more tokens, got {arguments.prefix}; 5 is the default.")
    budgets = (args.target_ua, args.min_utility, args.max_forget_steps, args.max_seconds)
    if all(value is None for value in budgets) and not args.stop_at_unseen_loss:
        if not arguments.unseen:
            raise ValueError(
                "`unseen` is missing: give texts of the same kind that the model never saw, whose loss is the goal; "
                "or set another end, such as --max_forget_steps or --target_ua."
            )
        args.stop_at_unseen_loss = True


def _surrogates(name: str | None, data: dict[str, Any], collate: Any) -> Any:
    if name == "continuations":
        return OwnContinuations()
    return UnlabelledExamples(data["unseen"], collate) if name == "unseen" else name


def _read(arguments: TextArguments, name: str) -> Any:
    columns = (arguments.prompt_column, arguments.answer_column, arguments.text_column)
    return read_texts(getattr(arguments, name), *columns, name=name)


def _table(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> str:
    columns = [(key, when) for key in ("loss", "probability", "extraction") for when in ("before", "after")]
    figures = {"before": before, "after": after}
    heading = ["texts", *(f"{key} {when}" for key, when in columns)]
    rows = [[name, *(f"{figures[when][name][key]:.3f}" for key, when in columns)] for name in before]
    return markdown_table([heading, *rows])


__all__ = ["TextArguments", "check_arguments", "main", "unlearn_text"]
