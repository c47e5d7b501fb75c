"""`hf-invwnn convert-keras`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..predictor import convert_keras
from ..trainer.checks import check_output_dir
from .parser import parse_command


@dataclass
class ConvertArguments:
    conv: str = field(metadata={"help": "HDF5 file of the network for convolutions."})
    linear: str = field(metadata={"help": "HDF5 file of the network for linear layers."})
    bias: str = field(metadata={"help": "HDF5 file of the network for biases and other vectors."})
    output_dir: str = field(metadata={"help": "Folder to save the predictor to."})


def main(words: Sequence[str], summary: str) -> None:
    (arguments,) = parse_command("convert-keras", words, [ConvertArguments], summary)
    check_output_dir(arguments.output_dir)
    convert_keras(arguments.conv, arguments.linear, arguments.bias).save_pretrained(arguments.output_dir)
    print(f"The predictor is in {arguments.output_dir}.")


__all__ = ["main"]
