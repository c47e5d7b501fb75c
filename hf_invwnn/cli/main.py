"""`hf-invwnn`: runs a command, and turns its errors into messages and exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import InsufficientMemoryError


EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
VERBOSE = "--verbose"

# Command -> summary. The module of a command has its name and a function `main(words, summary)`.
COMMANDS = {
    "demo": "Train, retrain and unlearn a small ViT on scikit-learn's digits; no download, at most two minutes.",
    "compare": "Run every method from the same starting points, each with its own sweep, and compare at equal UA.",
    "evaluate": "Evaluate any unlearned classifier beside a retrained one.",
    "unlearn-diffusion": "Make a diffusion pipeline forget one class of images, from the images of that class alone.",
    "unlearn-text": "Make a causal language model forget given texts, with a LoRA adapter or in all weights.",
    "convert-keras": "Convert the HDF5 weights of the paper's authors to a predictor that from_pretrained loads.",
    "push": "Upload a run, a predictor, a pipeline or weight histories to the Hub, with a card, in one commit.",
    "report": "Write a one-page report of a finished run, and the same as JSON.",
    "verify": "Recompute the hashes and metrics of a run and compare them with its record; exit code 1 on a mismatch.",
    "env": "Print versions, devices and memory for a bug report; no token, no path.",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the first word, which is the command."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="hf-invwnn",
        usage="hf-invwnn COMMAND [ARGUMENTS]",
        description="Make a trained model forget given examples from those examples alone.",
        epilog=f"commands:\n{commands}\n\n`hf-invwnn COMMAND --help` lists the arguments of a command. "
        "With `--verbose` every step is logged, and the cause of an error shown.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Runs one command.

    Args:
        arguments (`Sequence[str]`, *optional*): The words after `hf-invwnn`; those of the process by default.

    Returns:
        `int`: 0; 1 after a mismatch in `verify`; 2 after bad input and 130 after ctrl-C, with a message on standard
            error.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != VERBOSE]
    command = build_parser().parse_args(words[:1]).command
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if VERBOSE in given:
        logging.getLogger().setLevel(logging.INFO)
    try:
        module = import_module(f".{command.replace('-', '_')}", __package__)
        return module.main(words[1:], COMMANDS[command]) or 0
    except (ValueError, OSError, ImportError, InsufficientMemoryError) as error:
        if VERBOSE in given:
            logging.getLogger(__name__).exception("The cause of the error:")
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("diffusers"):
            error = ImportError("diffusion models need diffusers: pip install 'hf-invwnn[diffusion]'.")
        sys.stderr.write(f"hf-invwnn {command}: {_in_one_line(error)}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"hf-invwnn {command}: interrupted\n")
        return EXIT_INTERRUPTED


def _in_one_line(error: Exception) -> str:
    """An error as one line; those of other libraries and of the operating system have several, or none."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"`{error.filename}`: {error.strerror}"
    return text or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
