"""The command line: one file a verb, imported when the verb is called.

A verb's module has `EXAMPLE`, `arguments(parser)` and `run(options) -> exit code`.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from edgekit import __version__
from edgekit.errors import BadInput, EdgekitError, did_you_mean

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "train a small network, compress it for this machine, show the report"),
    "init": ("init", "trace a model and write a commented recipe, or a run file, that runs as it is"),
    "check": (
        "check",
        "operators, parameters, MACs, memory, and what a board cannot run: seconds, before training",
    ),
    "compress": ("compress", "run a recipe: smaller, faster artefacts with a report"),
    "audit": ("audit", "what of an ONNX file really runs in integers, what not, why, and the remedy"),
    "profile": ("profile", "latency, memory, energy and layers of files, interleaved, with a report"),
    "predict": (
        "predict",
        "latency of a file from a table of measured kernels, of this machine or of a board elsewhere",
    ),
    "power": ("power", "the power sensors here, a live curve of watts, and the energy in a meter's trace"),
    "compare": ("compare", "several results side by side"),
    "simulate": ("simulate", "decentralized training: all agents of a run file on this machine"),
    "broker": ("broker", "where agents meet: start one, check one, make certificates, invite devices"),
    "agent": (
        "agent",
        "take part in the runs of a site with this machine's data; join: accept an invitation",
    ),
    "train": ("train", "decentralized training by real agents over a real broker: the same run file"),
    "split": ("split", "one network over several agents: train it, see what leaves whom, find the best cut"),
    "boards": ("boards", "the boards that are known; with a name, its facts"),
    "targets": ("listing", "the runtimes that artefacts can be made for"),
    "transforms": ("listing", "the steps that a recipe can take, and their settings"),
    "models": ("listing", "the models that a recipe can name"),
    "datasets": ("listing", "the data sets that a recipe can name"),
    "data": ("data", "how a run's data lie over its agents: show, or write each agent's share"),
    "algorithms": (
        "algorithms",
        "decentralized algorithms: what each needs, sends and computes, and its paper",
    ),
    "topologies": (
        "topologies",
        "who speaks with whom: the graphs of decentralized training, and their facts",
    ),
    "codecs": ("listing", "what rows can be coded with on their way to other agents"),
    "partitions": ("listing", "how data can be divided over agents"),
    "optimizers": ("listing", "the local optimizers of a run"),
    "metrics": ("metrics", "the metrics of reports, profiles and runs: unit, definition, source"),
    "conformance": ("conformance", "run the kit that fits on a transform, target, model or data set"),
    "doctor": ("doctor", "what is installed, what this machine can do, what is missing"),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the words in one line."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{self.prog.removeprefix('edgekit ')}: {message}. See: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 where the asked-for result exists, 1 where a budget was missed, 2 for bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except EdgekitError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped; run the same command to resume", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _fail(_system_error(error), 2)


def parser_of(verb: str) -> tuple[argparse.ArgumentParser, Any]:
    """The parser of a verb, and its module."""
    name, summary = VERBS[verb]
    module = importlib.import_module(f"edgekit.cli.{name}")
    example = module.EXAMPLE if isinstance(module.EXAMPLE, str) else module.EXAMPLE[verb]
    parser = _Parser(
        prog=f"edgekit {verb}",
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=verb)
    module.arguments(parser)
    return parser, module


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"edgekit {__version__}\n")
        return 0
    if words[0] not in VERBS:
        raise BadInput(f"'{words[0]}' is no command. {did_you_mean(words[0], VERBS)} See: edgekit --help")
    parser, module = parser_of(words[0])
    return int(module.run(parser.parse_args(words[1:])))


def _help() -> str:
    width = max(len(verb) for verb in VERBS)
    lines = [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in VERBS.items()]
    return (
        "usage: edgekit COMMAND ...\n\nCompress a trained model for an edge board and prove what it gained; train "
        "across edge servers.\n\ncommands:\n"
        + "\n".join(lines)
        + "\n\nedgekit COMMAND --help says more and ends with an example.\n"
    )


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"edgekit: {message}\n")
    return code


def _system_error(error: OSError) -> str:
    place = f" '{error.filename}'" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return (
            f"the disk is full{place}: what was finished is kept. Free some space, or name another --out, "
            "and run the same command to resume."
        )
    return f"{error.strerror or type(error).__name__}{place}. Check the path and its permissions."
