"""A language model learns texts by heart with a LoRA adapter: the model that is then to forget some of them.

    python recipes/language_modeling/learn.py --model HuggingFaceTB/SmolLM2-135M-Instruct \
        --texts outputs/people/learnt.jsonl --output_dir outputs/people/original --num_train_epochs 12
    python recipes/language_modeling/learn.py --model HuggingFaceTB/SmolLM2-135M-Instruct \
        --texts outputs/people/kept.jsonl --output_dir outputs/people/retrained --num_train_epochs 12
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import DataCollatorForSeq2Seq, HfArgumentParser, Trainer, TrainingArguments, set_seed

from hf_invwnn.language_models import load_language_model, read_texts, tokenize_texts, with_adapter
from hf_invwnn.language_models.loading import context_length


@dataclass
class LearnArguments:
    model: str = field(metadata={"help": "Folder, Hub id or GGUF file of a causal language model."})
    texts: str = field(metadata={"help": "Texts to learn, with the columns prompt and answer."})
    lora_rank: int = field(default=8, metadata={"help": "Rank of the adapter."})
    plain: bool = field(default=False, metadata={"help": "Do not use the chat template of the tokenizer."})


@dataclass
class LearnTrainingArguments(TrainingArguments):
    per_device_train_batch_size: int = field(default=20, metadata={"help": "Texts in a step."})
    learning_rate: float = field(default=2e-3, metadata={"help": "The initial learning rate."})
    save_strategy: str = field(default="no", metadata={"help": "When checkpoints are saved."})


def main(arguments: LearnArguments, args: LearnTrainingArguments) -> None:
    set_seed(args.seed)
    model, tokenizer = load_language_model(arguments.model)
    if arguments.model.endswith(".gguf"):
        # Adapters name their base, which `from_pretrained` must be able to load again.
        base = str(Path(str(args.output_dir)).parent / "base")
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        model.name_or_path = base
    texts = read_texts(arguments.texts, name="texts")
    data = tokenize_texts(texts, tokenizer, False if arguments.plain else None, context_length(model), "texts")
    trainer = Trainer(
        with_adapter(model, arguments.lora_rank, args.seed),
        args,
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main(*HfArgumentParser((LearnArguments, LearnTrainingArguments)).parse_args_into_dataclasses())
