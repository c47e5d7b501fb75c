"""The command line: `hf-invwnn` with `demo`, `compare`, `evaluate`, `unlearn-diffusion`, `push`, `report`, ..."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from rich.console import Console


EXIT_BAD_INPUT = 2
EXIT_MISMATCH = 1


def build_parser() -> argparse.ArgumentParser:
    """The parser, with one function to run for each command."""
    parser = argparse.ArgumentParser(
        prog="hf-invwnn",
        description="Make a trained model forget given examples from those examples alone.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("hf-invwnn"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_compare(commands)
    _add_evaluate(commands)
    _add_unlearn_diffusion(commands)
    _add_convert_keras(commands)
    _add_push(commands)
    _add_report(commands)
    _add_verify(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    summary = "Train, retrain and unlearn a small ViT on scikit-learn's digits; no download, two minutes at most."
    demo = commands.add_parser(
        "demo", help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    demo.add_argument("--output_dir", default="invwnn-demo", help="folder for results.json, curves.png and the model")
    demo.add_argument("--seed", type=int, default=0, help="seed of the split, the noise and the training")
    demo.add_argument(
        "--predictor", default="base", help="'base', 'linear' (the task vector), or a folder or Hub id of a predictor"
    )
    demo.set_defaults(run=_demo)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    summary = (
        "Run every method on the same models and splits, each with its own sweep, and compare at equal forgetting."
    )
    compare = commands.add_parser(
        "compare", help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    compare.add_argument("--config", required=True, metavar="F", help="YAML file of the comparison")
    compare.add_argument("--workers", type=int, default=1, help="processes that share the runs")
    compare.set_defaults(run=_compare)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    summary = "Judge any unlearned classifier beside a reference, such as the retrained one, whoever made them."
    evaluate = commands.add_parser(
        "evaluate", help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    evaluate.add_argument("--model", required=True, metavar="A", help="folder or Hub id of the unlearned model")
    evaluate.add_argument("--reference", required=True, metavar="B", help="folder or Hub id to compare with")
    evaluate.add_argument("--splits", required=True, metavar="S", help="folder of the saved splits")
    evaluate.add_argument("--original", metavar="O", help="folder or Hub id of the model before unlearning")
    evaluate.add_argument("--output_dir", default="evaluation", help="folder for the results; it is private")
    evaluate.add_argument("--image_column", default="image", help="column of the images")
    evaluate.add_argument("--margin", type=float, default=0.1, help="difference in confidence that counts as none")
    evaluate.add_argument("--max_relearning_steps", type=int, default=500, help="steps on D_r; 0 for none")
    evaluate.set_defaults(run=_evaluate)


def _add_unlearn_diffusion(commands: argparse._SubParsersAction) -> None:
    summary = "Make a diffusion pipeline forget one class of images, from the images of that class alone."
    unlearn = commands.add_parser(
        "unlearn-diffusion", help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    unlearn.add_argument("--pipeline", required=True, metavar="P", help="folder or Hub id of the pipeline")
    unlearn.add_argument(
        "--dataset", required=True, metavar="D", help="folder of parquet files, Hub id, or 'digits' (scikit-learn's)"
    )
    unlearn.add_argument("--class", required=True, dest="forget_class", metavar="C", help="id or name of the class")
    unlearn.add_argument("--classifier", metavar="J", help="folder or Hub id of the judge; none: all rewinds are done")
    unlearn.add_argument("--output_dir", default="forgotten", help="folder for the pipeline and results.json")
    unlearn.add_argument("--method", default="invwnn", help="'invwnn', 'task_vector' or 'neg_grad'")
    unlearn.add_argument("--max_forget_ratio", type=float, default=1.0, help="stop at so many percent of the class")
    unlearn.add_argument("--learning_rate", type=float, default=1e-4, help="of fine-tuning on the images")
    unlearn.add_argument("--residual_scale", type=float, default=1.0, help="damping of a rewind")
    unlearn.add_argument("--num_rewinds", type=int, default=30, help="rewinds at the most")
    unlearn.add_argument("--batch_size", type=int, default=32, help="images of an optimizer step")
    unlearn.add_argument("--num_images", type=int, default=500, help="images generated for a judgement")
    unlearn.add_argument("--num_inference_steps", type=int, default=50, help="DDIM steps of a generated image")
    unlearn.add_argument("--kid_subset_size", type=int, default=250, help="images of a subset of KID")
    unlearn.add_argument("--image_column", default="image", help="column of the images")
    unlearn.add_argument("--label_column", default="label", help="column of the class ids")
    unlearn.add_argument("--resize", action="store_true", help="bring images to the size that the UNet takes")
    unlearn.add_argument("--seed", type=int, default=0, help="seed of the order of the images, and of the noise")
    unlearn.set_defaults(run=_unlearn_diffusion)


def _add_convert_keras(commands: argparse._SubParsersAction) -> None:
    summary = "Turn the HDF5 weights of the paper's authors into a predictor that from_pretrained loads."
    convert = commands.add_parser("convert-keras", help=summary, description=summary)
    for kind in ("conv", "linear", "bias"):
        convert.add_argument(
            f"--{kind}", required=True, metavar="F", help=f"HDF5 file of the network for {kind} parameters"
        )
    convert.add_argument("--output_dir", required=True, metavar="D", help="folder to save the predictor to")
    convert.set_defaults(run=_convert_keras)


def _add_push(commands: argparse._SubParsersAction) -> None:
    summary = (
        "Upload a finished run, a predictor, a pipeline or weight histories to the Hub, with a card, in one commit."
    )
    push = commands.add_parser("push", help=summary, description=summary)
    push.add_argument("folder", metavar="FOLDER", help="what to upload; only files of an allow-list are read")
    push.add_argument("repo", metavar="REPO", help="user/name; made if there is none")
    push.add_argument("--private", action="store_true", help="make a private repository")
    push.add_argument("--revision", metavar="BRANCH", help="branch to push to; made if there is none (default: main)")
    push.add_argument("--publish-indices", action="store_true", help="upload the forget indices too")
    push.add_argument("--license", metavar="ID", help="licence for the card, such as apache-2.0")
    push.add_argument("--base-model", metavar="ID", help="Hub id of the model from before, for the card")
    push.add_argument("--dataset", metavar="ID", action="append", help="Hub id of the training data, for the card")
    push.set_defaults(run=_push)


def _add_report(commands: argparse._SubParsersAction) -> None:
    summary = "Write one page about a finished run, to show to whoever asked for it, and the same as JSON beside it."
    report = commands.add_parser("report", help=summary, description=summary)
    report.add_argument("run_folder", metavar="RUN", help="folder of a finished run")
    report.add_argument(
        "--html", required=True, metavar="FILE", help="the page; it needs no network and no other file"
    )
    report.add_argument("--show-ids", action="store_true", help="show rows of the training set in place of hashes")
    report.set_defaults(run=_report)


def _add_verify(commands: argparse._SubParsersAction) -> None:
    summary = "Compute the hashes and metrics of a run again; say what does not match its record, with exit code 1."
    verify = commands.add_parser("verify", help=summary, description=summary)
    verify.add_argument("run_folder", metavar="RUN", help="folder of a finished run")
    verify.add_argument("--tolerance", type=float, default=0.01, help="points by which a metric may differ")
    verify.add_argument("--image_column", default="image", help="column of the images in the splits")
    verify.set_defaults(run=_verify)


def _demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    run_demo(options.output_dir, seed=options.seed, predictor=options.predictor)


def _compare(options: argparse.Namespace) -> None:
    from transformers.utils import logging as transformers_logging

    from .comparison import compare, read_settings
    from .inputs import check_output_dir
    from .report import write_comparison

    settings = read_settings(options.config)
    check_output_dir(settings.output_dir)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    report = write_comparison(compare(settings, options.workers), settings.output_dir)
    Console().print(report, markup=False, soft_wrap=True)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import evaluate_pair, evaluation_table
    from .inputs import check_output_dir
    from .scenarios import UnlearningSplits

    splits = UnlearningSplits.load_from_disk(options.splits)
    check_output_dir(options.output_dir)
    results = evaluate_pair(
        options.model,
        options.reference,
        splits,
        options.output_dir,
        original=options.original,
        image_column=options.image_column,
        margin=options.margin,
        max_relearning_steps=options.max_relearning_steps,
    )
    Console().print(evaluation_table(results), markup=False, soft_wrap=True)


def _unlearn_diffusion(options: argparse.Namespace) -> None:
    from .diffusion.command import unlearn_diffusion

    Console().print(unlearn_diffusion(options), markup=False, soft_wrap=True)


def _convert_keras(options: argparse.Namespace) -> None:
    from .inputs import check_output_dir
    from .predictor import convert_keras

    check_output_dir(options.output_dir)
    model = convert_keras(options.conv, options.linear, options.bias)
    model.save_pretrained(options.output_dir)
    Console().print(f"The predictor is in {options.output_dir}.")


def _push(options: argparse.Namespace) -> None:
    from .sharing import push_folder

    commit = push_folder(
        options.folder,
        options.repo,
        private=options.private or None,
        revision=options.revision,
        publish_indices=options.publish_indices,
        model={"license": options.license, "base_model": options.base_model, "datasets": options.dataset},
    )
    Console().print(f"Pushed: {commit.commit_url}", markup=False, soft_wrap=True)


def _report(options: argparse.Namespace) -> None:
    from .report.run_report import write_report

    write_report(options.run_folder, options.html, show_ids=options.show_ids)
    Console().print(f"The report is in {options.html}.", markup=False, soft_wrap=True)


def _verify(options: argparse.Namespace) -> int:
    from transformers.utils import logging as transformers_logging

    from .verification import verify_run

    transformers_logging.disable_progress_bar()
    findings = verify_run(options.run_folder, options.tolerance, options.image_column)
    console = Console()
    for finding in findings:
        if finding.matches is not True:
            said = "not checked" if finding.matches is None else "does not match"
            line = f"{finding.what}: {said}. Recorded: {finding.recorded}. Found: {finding.found}."
            console.print(line, markup=False, soft_wrap=True, highlight=False)
    counted = {state: sum(finding.matches is state for finding in findings) for state in (True, False, None)}
    console.print(f"{counted[True]} match, {counted[False]} do not, {counted[None]} could not be checked.")
    return EXIT_MISMATCH if counted[False] else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Runs one command.

    Args:
        arguments (`Sequence[str]`, *optional*): The words after `hf-invwnn`; those of the process by default.

    Returns:
        `int`: 0; 1 where `verify` found a mismatch; 2 after bad input and 130 after ctrl-C, with a message on the
        standard error.
    """
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    told = logging.getLogger("hf_invwnn.room")
    level = told.level
    if options.command in ("demo", "compare"):
        # Small models, and progress bars of their own: what each trajectory takes is no news there.
        told.setLevel(logging.ERROR)
    try:
        return options.run(options) or 0
    except (ValueError, FileNotFoundError, ImportError) as error:
        sys.stderr.write(f"hf-invwnn {options.command}: {error}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"hf-invwnn {options.command}: interrupted\n")
        return 130
    finally:
        told.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
