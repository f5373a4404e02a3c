"""The command ``dhmd``: it parses, calls and prints. Heavy libraries are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from dhmd import __version__
from dhmd.data.commands import add_verbs as add_data_verbs
from dhmd.errors import DhmdError

INTERRUPTED = 130
DESCRIPTION = "Decoupled multimodal distillation (DMD, DHMD): train, evaluate, compare."
EPILOG = """\
examples:
  dhmd train                                              DHMD on the embedded synthetic corpus
  dhmd train data=mosi_aligned data.path=FILE model=dmd   any key or file of the configuration can be set
  dhmd train --help                                       the configuration
  dhmd evaluate RUN --split valid
  dhmd show RUN
  eval "$(dhmd -sc install=bash)"                         completion (bash; zsh and fish likewise)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # threads that wait for work sleep: spinning, as is the default, slows a training many times where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return _dispatch(arguments)
    except DhmdError as error:
        print(f"dhmd: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\ndhmd: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        traceback.print_exc()
        print("dhmd: unexpected error; please report it with the lines above and the run's config.yaml", file=sys.stderr)
        return 1


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-sc", "--shell-completion", "--shell_completion"):
        from dhmd.app import complete

        return complete(arguments)
    if arguments[:1] == ["train"]:  # everything after it is Hydra's
        from dhmd.app import train_command

        return train_command(arguments[1:])
    if arguments[:1] == ["results"]:
        from dhmd.evaluation.results import main as results

        return int(results(arguments[1:]) or 0)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dhmd", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"dhmd {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verbs.add_parser("train", help="train a network and leave a run folder (Hydra overrides and flags)", add_help=False)

    evaluate = verbs.add_parser("evaluate", help="compute a run's metrics anew from its checkpoint")
    evaluate.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    evaluate.add_argument("--split", choices=("valid", "test"), default="test", help="default: test")
    evaluate.add_argument("--data", metavar="PATH", type=Path, help="another data file of the same kind")
    evaluate.add_argument("--device", default="cpu", help="as torch names it: cpu (default), cuda, cuda:1")
    evaluate.set_defaults(run=_evaluate)

    show = verbs.add_parser("show", help="print what a run recorded")
    show.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    show.set_defaults(run=_show)

    verbs.add_parser("results", help="a table over many runs: mean, deviation, interval", add_help=False)

    reproduce = verbs.add_parser("reproduce", help="train DMD and DHMD over seeds on a published data set and print the table")
    reproduce.add_argument("dataset", choices=("mosi", "mosei"))
    reproduce.add_argument("--data", metavar="PATH", help="the published pickle, aligned or unaligned")
    reproduce.add_argument("--seeds", type=int, default=5, help="number of seeds, from 1111 on (default: 5)")
    reproduce.add_argument("--gpus", type=int, default=0, help="number of GPUs; runs are spread over them (default: 0, the CPU)")
    reproduce.add_argument("--runs", metavar="DIR", type=Path, default=Path("runs"), help="where run folders go (default: runs)")
    reproduce.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides of dhmd train for every run")
    reproduce.set_defaults(run=_reproduce)

    add_data_verbs(verbs.add_parser("data", help="inspect, convert and verify feature files, and generate synthetic ones"))
    return parser


def _evaluate(options: argparse.Namespace) -> None:
    from dhmd.training.evaluate import evaluate
    from dhmd.training.show import print_evaluation

    print_evaluation(evaluate(options.run_folder, options.split, options.data, options.device), options.split)


def _show(options: argparse.Namespace) -> None:
    from dhmd.training.show import print_run

    print_run(options.run_folder)


def _reproduce(options: argparse.Namespace) -> None:
    from dhmd.reproduce import reproduce

    print(reproduce(options.dataset, options.data, options.seeds, options.gpus, options.runs, options.set))


if __name__ == "__main__":
    sys.exit(main())
