"""The command line's frame: exit codes, one line an error, nothing half said."""

from __future__ import annotations

import errno
import json

import pytest

from edgekit import cli
from edgekit.cli import doctor
from edgekit.errors import BadInput, BudgetMissed


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text.removesuffix("\n")


def test_an_unknown_command_is_answered(capsys):
    code, out, err = run(capsys, "comprss")
    assert (code, out) == (2, "")
    assert one_line(err) == "edgekit: 'comprss' is no command. Did you mean 'compress'? See: edgekit --help"


def test_help_goes_to_standard_output_and_no_word_is_bad_input(capsys):
    assert run(capsys, "--help")[0] == 0
    assert run(capsys)[0] == 2
    assert run(capsys, "--version") == (0, "edgekit 0.1.0\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("audit",),
        ("doctor", "--jso"),
        ("profile", "x", "--threads", "0"),
        ("check", "resnet8", "--input", "3,a"),
    ],
)
def test_wrong_words_are_one_line(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert one_line(err).endswith(f"See: edgekit {words[0]} --help")


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_the_help_of_every_verb_ends_with_an_example_that_parses(verb):
    import shlex

    parser, module = cli.parser_of(verb)
    last = parser.format_help().rstrip().splitlines()[-1].strip()
    words = shlex.split(last)
    assert words[:2] == ["edgekit", verb]
    assert parser.parse_args(words[2:]).verb == verb
    assert callable(module.run)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (BadInput("a: b.\n  Do c."), 2, "edgekit: a: b. Do c."),
        (BudgetMissed("latency: 2 ms is over 1 ms. The best is kept."), 1, "edgekit: latency: 2 ms"),
        (KeyboardInterrupt(), 130, "edgekit: stopped; run the same command to resume"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/model.onnx"),
            2,
            "edgekit: the disk is full 'runs/a/model.onnx': what was finished is kept.",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "edgekit: Permission denied '/x'."),
    ],
)
def test_every_end_is_one_line_with_its_code(capsys, monkeypatch, error, code, text):
    def fall(options):
        raise error

    monkeypatch.setattr(doctor, "run", fall)
    found, out, err = run(capsys, "doctor")
    assert (found, out) == (code, "")
    assert one_line(err).startswith(text)


def test_doctor_knows_this_machine(capsys):
    import platform

    code, out, _ = run(capsys, "doctor", "--json")
    seen = json.loads(out)
    assert code == 0
    assert seen["machine"]["python"].startswith(platform.python_version())
    extras = {extra["name"]: extra for extra in seen["extras"]}
    assert {"cpu", "train", "host", "all"} <= set(extras)
    assert "torch" in {*extras["all"]["present"], *extras["all"]["missing"]}
    assert set(extras["train"]["present"]) <= set(extras["host"]["present"])


def test_doctor_reads_instruction_sets(tmp_path):
    from edgekit.doctor import instruction_sets

    file = tmp_path / "cpuinfo"
    file.write_text("processor: 0\nflags\t\t: fpu avx2 avx512_vnni sse\n")
    assert instruction_sets(file) == ["avx2", "avx512_vnni"]
    file.write_text("Features\t: fp asimd asimddp\n")
    assert instruction_sets(file) == ["asimd", "asimddp"]
    assert instruction_sets(tmp_path / "absent") == []


def test_doctor_names_what_is_missing(monkeypatch):
    from edgekit import doctor as facts

    lines = [
        "numpy>=1.24",
        'edgekit[cpu]; extra == "all"',
        'onnxruntime>=1; extra == "cpu"',
        'no-such-package-here>=2; extra == "all"',
    ]
    monkeypatch.setattr(facts, "requires", lambda name: lines)
    found = {extra.name: extra for extra in facts.extras()}
    assert found["all"].missing == ("no-such-package-here",)
    assert found["all"].state == "1 missing"
    assert set(found["all"].present) == {"onnxruntime"} == set(found["cpu"].present)


@pytest.mark.parametrize(
    ("verb", "name"),
    [("transforms", "prune"), ("models", "resnet8"), ("targets", "cpu"), ("datasets", "fashion-mnist")],
)
def test_what_there_is_lists_itself(capsys, verb, name):
    code, out, _ = run(capsys, verb, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows[name]["summary"]
    assert not [row for row in rows.values() if row["summary"].startswith(("cannot be loaded", "(no desc"))]
    code, out, _ = run(capsys, verb)
    assert code == 0
    assert all(known in out for known in rows)


def test_settings_of_a_transform_are_told(capsys):
    rows = {row["name"]: row for row in json.loads(run(capsys, "transforms", "--json")[1])}
    assert rows["prune"]["settings"]["ratio"] == "a number (required)"
    assert rows["distil"]["settings"]["hints"].startswith("a mapping or a list of text")


def test_boards(capsys):
    names = [board["name"] for board in json.loads(run(capsys, "boards", "--json")[1])]
    assert {"this-machine", "x86-vnni", "x86-avx2", "arm64"} <= set(names)
    facts = json.loads(run(capsys, "boards", "arm64", "--json")[1])
    assert facts["target"] == "cpu"
    assert facts["caps"]["activations"]["signed"] is True
    assert "x86-vnni" in run(capsys, "boards")[1]
    code, _, err = run(capsys, "boards", "arm46")
    assert (code, one_line(err)) == (2, "edgekit: boards: 'arm46' is unknown. Did you mean 'arm64'?")
