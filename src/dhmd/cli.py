"""The command line ``dhmd``: parse, call and print. Heavy libraries are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from dhmd import __version__
from dhmd.data.cli import add_verbs as add_data_verbs
from dhmd.errors import DhmdError

INTERRUPTED = 130
DESCRIPTION = "Decoupled multimodal distillation (DMD, DHMD): train, evaluate, compare."
EPILOG = """\
examples:
  dhmd train                                              DHMD on the embedded synthetic corpus
  dhmd train data=mosi_aligned data.path=FILE model=dmd   any key or file of the configuration can be set
  dhmd train --help                                       the configuration
  dhmd evaluate RUN --split valid
  dhmd predict RUN FILE -o predictions.csv
  dhmd show RUN
  dhmd analyse RUN
  dhmd probe RUNS -o DIR
  dhmd report DIR -o report.html
  eval "$(dhmd -sc install=bash)"                         completion (bash; zsh and fish likewise)
"""


def busy_cores() -> int:
    """Return the number of processor cores that other programs keep busy at this moment; 0 on systems other than Linux."""
    seen = []
    for _ in range(5):
        try:
            seen.append(int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1)  # this process does not count
        except (OSError, ValueError, IndexError):
            return 0
        time.sleep(0.002)
    return sorted(seen)[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if busy_cores() >= (os.cpu_count() or 1) / 2:
        # waiting threads sleep: spinning, torch's default, halves a step on idle cores but multiplies it on shared ones
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return _dispatch(arguments)
    except DhmdError as error:
        print(f"dhmd: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\ndhmd: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has closed the pipe
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
    if arguments[:1] == ["train"]:  # everything after the verb is for Hydra
        from dhmd.app import train_command

        return train_command(arguments[1:])
    if arguments[:1] == ["results"]:
        from dhmd.results.cli import main as results
        from dhmd.sweeps.unfinished import unfinished

        return results(arguments[1:], unfinished)
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

    predict = verbs.add_parser("predict", help="predictions of a run for a pickle, a store or a folder of arrays; labels not needed")
    predict.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    predict.add_argument("input", metavar="INPUT", type=Path, help="the samples")
    predict.add_argument("-o", "--output", metavar="CSV", type=Path, required=True, help="where the csv goes")
    predict.add_argument("--split", help="the only split wanted (default: all there are)")
    predict.add_argument("--batch-size", metavar="N", type=int, default=64, help="samples computed together (default: 64)")
    predict.add_argument("--device", default="cpu", help="as torch names it: cpu (default), cuda, cuda:1")
    predict.set_defaults(run=_predict)

    export = verbs.add_parser("export", help="write a run's network as one file that runs without dhmd")
    export.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    export.add_argument("--format", choices=("onnx", "torch"), required=True)
    export.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="where it goes")
    export.set_defaults(run=_export)

    import_dmd = verbs.add_parser("import-dmd", help="make a run folder from a checkpoint of the DMD authors")
    import_dmd.add_argument("checkpoint", metavar="CKPT", type=Path, help="the authors' .pth file")
    import_dmd.add_argument("-o", "--output", metavar="RUN", type=Path, required=True, help="the run folder to make")
    import_dmd.add_argument("--heads", metavar="N", type=int, help="attention heads (default: the authors' number at its width)")
    import_dmd.add_argument("--data", metavar="PATH", type=Path, help="the feature file to evaluate on by default")
    import_dmd.set_defaults(run=_import_dmd)

    analyse = verbs.add_parser("analyse", help="tables, arrays and figures of a run: edges, dictionaries, linear readers, projections")
    analyse.add_argument("run_folder", metavar="RUN", type=Path, help="run folder, also of import-dmd")
    analyse.add_argument("-o", "--output", metavar="DIR", type=Path, help="where they go (default: RUN/analysis)")
    analyse.add_argument("--data", metavar="PATH", type=Path, help="another data file of the same kind")
    analyse.add_argument("--split", choices=("valid", "test"), default="test", help="default: test")
    analyse.add_argument("--device", default="cpu", help="as torch names it: cpu (default), cuda, cuda:1")
    analyse.set_defaults(run=_analyse)

    probe = verbs.add_parser("probe", help="what runs on the embedded corpus learned of what was planted in it, over seeds")
    probe.add_argument("runs", nargs="*", metavar="RUNS", type=Path, help="run folders, or folders of run folders at any depth")
    probe.add_argument("-o", "--output", metavar="DIR", type=Path, help="where csv files, figures and probe.json go")
    probe.add_argument("--record", metavar="FILE", type=Path, help="the runs' numbers: written, or read where no run is given")
    probe.add_argument("--update", metavar="FILE", type=Path, help="write the tables into a document between <!-- probe:NAME --> markers")
    probe.add_argument("--check", metavar="FILE", type=Path, help="see that a document's tables are what the record (and runs) say")
    probe.set_defaults(run=_probe)

    report = verbs.add_parser("report", help="one self-contained HTML page about many runs: tables, plots, samples")
    report.add_argument("folder", metavar="DIR", type=Path, help="a run, a sweep, or a folder of runs at any depth")
    report.add_argument("-o", "--output", metavar="HTML", type=Path, required=True, help="where the page goes")
    report.add_argument(
        "--details", metavar="N", type=int, default=12, help="configurations shown in detail, by their first run (default: 12)"
    )
    report.add_argument("--samples", metavar="N", type=int, default=200, help="samples of each of these to look through (default: 200)")
    report.add_argument("--reference", metavar="ROW", default="", help="the row others are compared with, as in `dhmd results`")
    report.add_argument("--no-texts", action="store_true", help="leave the texts of the samples out")
    report.set_defaults(run=_report)

    show = verbs.add_parser("show", help="print what a run recorded")
    show.add_argument("run_folder", metavar="RUN", type=Path, help="run folder")
    show.set_defaults(run=_show)

    sweep = verbs.add_parser("sweep", help="look at the jobs of a sweep (`dhmd train -m` starts and continues one)")
    status = sweep.add_subparsers(title="verbs", metavar="VERB", required=True).add_parser(
        "status", help="a table of jobs: state, progress, time left, errors"
    )
    status.add_argument("folder", metavar="DIR", type=Path, help="the sweep's folder")
    status.add_argument("--watch", action="store_true", help="look again every two seconds while a job runs")
    status.set_defaults(run=_sweep_status)

    sync = verbs.add_parser("sync", help="upload the offline W&B runs below a folder, by W&B's own `wandb sync`")
    sync.add_argument("folder", metavar="DIR", type=Path, help="a run folder, a sweep, or a folder of them")
    sync.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and use no network")
    sync.set_defaults(run=_sync)

    verbs.add_parser("results", help="tables over many runs: mean, deviation, interval, tested differences", add_help=False)

    reproduce = verbs.add_parser(
        "reproduce", help="train DMD, and DHMD with its stages taken away, on a published data set; ends in tables and a page"
    )
    reproduce.add_argument("dataset", choices=("mosi", "mosei"))
    reproduce.add_argument("--data", nargs="*", default=[], metavar="PATH", help="the published pickles: aligned, unaligned, or both")
    reproduce.add_argument("--seeds", type=int, default=5, help="number of seeds, from 1111 on (default: 5)")
    reproduce.add_argument("--gpus", type=int, default=0, help="number of GPUs; runs are spread over them (default: 0, the CPU)")
    reproduce.add_argument("--study", default="kd_stages", help="of conf/sweep, for DHMD (default: kd_stages; seeds: DHMD alone)")
    reproduce.add_argument("--runs", metavar="DIR", type=Path, default=Path("runs"), help="where run folders go (default: runs)")
    reproduce.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides of dhmd train for every run")
    reproduce.set_defaults(run=_reproduce)

    add_data_verbs(verbs.add_parser("data", help="inspect, convert and verify feature files, and generate synthetic ones"))
    return parser


def _evaluate(options: argparse.Namespace) -> None:
    from dhmd.training.evaluate import evaluate
    from dhmd.training.show import print_evaluation

    print_evaluation(evaluate(options.run_folder, options.split, options.data, options.device), options.split)


def _predict(options: argparse.Namespace) -> None:
    from dhmd.prediction.file import predict_file
    from dhmd.runs.folder import RunFolder

    run = RunFolder(options.run_folder)
    if run.started and not run.finished and not run.imported:
        print(f"dhmd: {run.path} has not finished training: predictions are those of its best epoch so far", file=sys.stderr)

    n = predict_file(options.run_folder, options.input, options.output, options.split, options.batch_size, options.device)
    print(f"{n} predictions: {options.output}")


def _export(options: argparse.Namespace) -> None:
    from dhmd.interop.export import export

    done = export(options.run_folder, options.output, options.format)
    for name, shape in done.inputs.items():
        print(f"input   {name} ({', '.join(map(str, shape))})")
    print(f"outputs {', '.join(done.outputs)}")
    print(f"{done.path}: differs from the run by {done.difference:.1e} at most on random samples")


def _import_dmd(options: argparse.Namespace) -> None:
    from dhmd.interop.imported import import_dmd

    run = import_dmd(options.checkpoint, options.output, options.heads, options.data)
    print(f"run folder: {run}\nnext: dhmd evaluate {run}{'' if options.data else ' --data FILE'}")


def _probe(options: argparse.Namespace) -> None:
    from dhmd.probe.cli import probe

    probe(options.runs, options.output, options.record, options.update, options.check)


def _analyse(options: argparse.Namespace) -> None:
    from dhmd.analyse.printing import print_analysis, waiting
    from dhmd.analyse.write import analyse

    with waiting():
        analysis = analyse(options.run_folder, options.output, options.data, options.split, options.device)
    print_analysis(analysis)


def _report(options: argparse.Namespace) -> None:
    from dhmd.report.build import Limits
    from dhmd.report.command import report
    from dhmd.sweeps.unfinished import unfinished

    limits = Limits(options.details, options.samples, not options.no_texts)
    print(report(options.folder, options.output, limits, options.reference, unfinished))


def _show(options: argparse.Namespace) -> None:
    from dhmd.training.show import print_run

    print_run(options.run_folder)


def _sweep_status(options: argparse.Namespace) -> None:
    from dhmd.sweeps.status import show_status

    show_status(options.folder, options.watch)


def _sync(options: argparse.Namespace) -> None:
    from dhmd.tracking.sync import sync

    sync(options.folder, options.dry_run)


def _reproduce(options: argparse.Namespace) -> None:
    from dhmd.reproduce import reproduce

    print(reproduce(options.dataset, options.data, options.seeds, options.gpus, options.runs, options.study, options.set))


if __name__ == "__main__":
    sys.exit(main())
