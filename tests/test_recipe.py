"""The recipe: YAML and dataclasses alike, every mistake one line with its place and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import BadInput
from edgekit.recipe import Budget, Recipe, check_order, load_recipe, parse_recipe
from edgekit.registry import transforms
from edgekit.transforms.base import Transform


@dataclass(frozen=True)
class Squeeze(Transform):
    """Stands for any transform: each kind of field once."""

    name: ClassVar[str] = "squeeze"

    ratio: float
    rounds: int = 1
    by: Literal["l1", "l2"] = "l1"
    exclude: tuple[str, ...] = ()
    layers: dict[str, int] | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise BadInput(f"squeeze: ratio {self.ratio} is not between 0 and 1. Lower it.")


@dataclass(frozen=True)
class Learn(Transform):
    """Stands for a step that trains."""

    name: ClassVar[str] = "learn"
    trains: ClassVar[bool] = True

    epochs: int = 1


@dataclass(frozen=True)
class Seal(Transform):
    """Stands for a last step that works on a file."""

    name: ClassVar[str] = "seal"
    final: ClassVar[bool] = True
    needs_torch: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def known_steps(monkeypatch):
    monkeypatch.setattr(transforms, "_registered", dict(transforms._registered))
    for cls in (Squeeze, Learn, Seal):
        transforms.register(cls.name, cls)


WHOLE = """\
model: {resnet8: {width: 32}}
data: {fashion-mnist: {train_limit: 100}}
boards: [this-machine, x86-avx2]
budget: {latency_ms: 0.15, size_kib: 64, max_drop: 0.01}
objective: size
seed: 7
batch: 64
steps:
  - squeeze: {ratio: 0.4, rounds: 4, by: l2, exclude: ["head.*", stem], layers: {a: 1}}
  - learn
  - seal:
"""


def test_a_recipe_becomes_what_it_says():
    recipe = parse_recipe(WHOLE)
    assert recipe == Recipe(
        model="resnet8",
        model_options={"width": 32},
        data="fashion-mnist",
        data_options={"train_limit": 100},
        boards=("this-machine", "x86-avx2"),
        objective="size",
        seed=7,
        batch=64,
        budget=Budget(latency_ms=0.15, size_bytes=65536, max_drop=0.01),
        steps=(Squeeze(0.4, 4, "l2", ("head.*", "stem"), {"a": 1}), Learn(), Seal()),
    )


def test_yaml_round_trip():
    recipe = parse_recipe(WHOLE)
    assert parse_recipe(recipe.to_yaml()) == recipe


@settings(deadline=None, max_examples=60)
@given(
    ratio=st.floats(1e-6, 0.999),
    rounds=st.integers(1, 10**6),
    names=st.lists(st.text(max_size=12), max_size=4),
    seed=st.integers(0, 2**31),
    drop=st.floats(0, 1e6),
)
def test_any_recipe_survives_yaml(ratio, rounds, names, seed, drop):
    transforms.register("squeeze", Squeeze)
    exclude = tuple(name for name in names if not name.startswith(("/", "./", "../", "~/")))
    step = Squeeze(ratio, rounds, "l1", exclude)
    recipe = Recipe(model="m", seed=seed, budget=Budget(max_drop=drop), steps=(step,))
    assert parse_recipe(recipe.to_yaml()) == recipe


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("mode: x", "r.yaml:1: 'mode' is no part of a recipe. Did you mean 'model'?"),
        ("model: x\nmodel: y", "r.yaml:2: 'model' is given twice (first at r.yaml:1). Keep one."),
        ("model: x\nseed: 1.5", "r.yaml:2: seed is 1.5, but must be a whole number."),
        ("model: x\nseed: true", "r.yaml:2: seed is true, but must be a whole number."),
        ("model: x\nseed: -1", "r.yaml:2: seed: -1 is negative."),
        ("model: x\n\nbatch: 0", "r.yaml:3: batch: 0 is too small."),
        ("model: x\nboards: []", "r.yaml:2: boards: [] must name at least one board"),
        ("model: x\nboards: this-machine", "r.yaml:2: boards is 'this-machine', but must be a list of text"),
        (
            "model: x\nbudget: {latncy_ms: 1}",
            "r.yaml:2: budget has no setting 'latncy_ms'. Did you mean 'latency_ms'?",
        ),
        ("model: x\nbudget:\n  max_drop: -0.1", "r.yaml:3: budget: max_drop is -0.1"),
        ("model: x\nbudget: {latency_ms: .nan}", "r.yaml:2: budget.latency_ms is nan, but must be a number"),
        (
            "model: x\nbudget: {size_kib: 3, size_bytes: 9}",
            "r.yaml:2: budget: size_kib and size_bytes say the same",
        ),
        ("model: x\nbudget: {energy_mj: 3}", "energy is no budget"),
        (
            "model: x\nobjective: speed",
            "r.yaml:2: objective is 'speed', but must be one of latency, size, energy.",
        ),
        ("model: x\ndevice: cudaa", "one of auto, cpu, cuda (Did you mean 'cuda'?)"),
        ("data: x", "the recipe names no model"),
        ("- model", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("model: [", "r.yaml:1: this is not YAML"),
        ("model: x\n\tseed: 1", "r.yaml:2: this is not YAML"),
        ("model: !!python/object:os.system x", "this is not YAML"),
        ("model: &a [*a]", "an alias contains itself"),
        ("model: {a: 1, b: 2}", "model is one name, or one name with its options"),
        ("model: x\nweights: nowhere.pt", "r.yaml:2: weights: there is no file 'nowhere.pt'"),
        ("model: ./nowhere.py:Net", "r.yaml:1: model: there is no file"),
        ("model: x\nsteps: {squeeze: 1}", "r.yaml:2: steps is a list"),
        ("model: x\nsteps:\n  - squeze: {}", "r.yaml:3: steps: 'squeze' is unknown. Did you mean 'squeeze'?"),
        ("model: x\nsteps:\n  - learn:\n    epochs: 2", "r.yaml:3: step 1 is"),
        (
            "model: x\nsteps:\n  - squeeze: {}",
            "r.yaml:3: steps.squeeze needs the setting 'ratio'. Add ratio: a number.",
        ),
        (
            "model: x\nsteps:\n  - squeeze:\n      ratio: 0.5\n      rato: 1",
            "r.yaml:5: steps.squeeze has no setting 'rato'. Did you mean 'ratio'?",
        ),
        (
            "model: x\nsteps:\n  - squeeze:\n      ratio: half",
            "r.yaml:4: steps.squeeze.ratio is 'half', but must be a number.",
        ),
        (
            "model: x\nsteps:\n  - squeeze:\n      by: l1\n      ratio: 1.2",
            "r.yaml:5: steps.squeeze: ratio 1.2 is not between 0 and 1. Lower it.",
        ),
        (
            "model: x\nsteps:\n  - squeeze: {ratio: 0.5, by: l3}",
            "steps.squeeze.by is 'l3', but must be one of l1, l2",
        ),
        (
            "model: x\nsteps:\n  - squeeze: {ratio: 0.5, exclude: head}",
            "must be a list of text, written [...]",
        ),
        (
            "model: x\nsteps:\n  - squeeze: {ratio: 0.5, exclude: [a, 3]}",
            "steps.squeeze.exclude.1 is 3, but must be text",
        ),
        ("model: x\nsteps:\n  - learn: 3", "steps.learn is 3, but its settings must be a mapping"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, want: str):
    with pytest.raises(BadInput) as caught:
        parse_recipe(text, source="r.yaml")
    assert want in str(caught.value)
    assert "\n" not in str(caught.value)


def test_exponents_without_a_point_are_numbers():
    assert parse_recipe("model: x\nbudget: {max_drop: 1e-3}").budget.max_drop == 1e-3


def test_a_whole_number_serves_where_a_number_is_asked_for():
    value = parse_recipe("model: x\nbudget: {max_drop: 1}").budget.max_drop
    assert value == 1.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("override", "check"),
    [
        ("steps.squeeze.ratio=0.3", lambda recipe: recipe.steps[0].ratio == 0.3),
        ("steps.0.ratio=0.3", lambda recipe: recipe.steps[0].ratio == 0.3),
        ("steps.0.squeeze.ratio=0.3", lambda recipe: recipe.steps[0].ratio == 0.3),
        ("steps.0={squeeze: {ratio: 0.3}}", lambda recipe: recipe.steps[0] == Squeeze(0.3)),
        ("steps.1.epochs=4", lambda recipe: recipe.steps[1].epochs == 4),
        ("steps.learn.epochs=9", lambda recipe: recipe.steps[1].epochs == 9),
        ("seed=3", lambda recipe: recipe.seed == 3),
        ("budget.latency_ms=2", lambda recipe: recipe.budget.latency_ms == 2.0),
        ("model.resnet8.width=8", lambda recipe: recipe.model_options == {"width": 8}),
        ("model=mlp", lambda recipe: (recipe.model, recipe.model_options) == ("mlp", {})),
        ("boards=[arm64]", lambda recipe: recipe.boards == ("arm64",)),
        ("steps=[]", lambda recipe: recipe.steps == ()),
        ("metric=accuracy", lambda recipe: recipe.metric == "accuracy"),
    ],
)
def test_an_override_changes_one_value(override, check):
    assert check(parse_recipe(WHOLE, overrides=[override]))


@pytest.mark.parametrize(
    ("override", "want"),
    [
        ("seed", "--set seed: this sets nothing. Write KEY=VALUE"),
        ("sed=1", "--set sed=1: 'sed' is no part of a recipe. Did you mean 'seed'?"),
        ("steps.squeeze.ratio=much", "--set steps.squeeze.ratio=much: steps.squeeze.ratio is 'much'"),
        (
            "steps.squeez.ratio=0.1",
            "--set steps.squeez.ratio=0.1: there is no 'squeez' to set. Did you mean 'squeeze'?",
        ),
        ("seed.a=1", "--set seed.a=1: 'seed' holds 7, which has no 'a'"),
        ("seed=[", "--set seed=["),
    ],
)
def test_a_wrong_override_is_named(override, want):
    with pytest.raises(BadInput) as caught:
        parse_recipe(WHOLE, overrides=[override])
    assert want in str(caught.value)


def test_a_step_that_occurs_twice_is_set_by_number():
    text = "model: x\nsteps: [learn, learn]"
    with pytest.raises(BadInput, match=r"'learn' occurs 2 times. Name one by its number: 0, 1"):
        parse_recipe(text, overrides=["steps.learn.epochs=2"])
    assert parse_recipe(text, overrides=["steps.1.epochs=2"]).steps == (Learn(1), Learn(2))


ORDER = "model: x\ndata: d\nsteps:\n  - seal\n  - squeeze: {ratio: 0.5}\n"


def test_a_step_after_the_last_is_refused():
    with pytest.raises(BadInput) as caught:
        check_order(parse_recipe(ORDER))
    assert str(caught.value) == (
        "steps: squeeze (line 5) follows seal, which must be last: its scales would be discarded. Move "
        "squeeze before seal."
    )


@pytest.mark.parametrize("steps", ["[learn, seal]", "[seal]", "[]"])
def test_a_sound_order_passes(steps):
    check_order(parse_recipe(f"model: x\ndata: d\nsteps: {steps}"))


def test_training_needs_data():
    with pytest.raises(BadInput, match=r"learn .line 2. trains, but the recipe names no data"):
        check_order(parse_recipe("model: x\nsteps: [learn]"))


@pytest.mark.parametrize(
    ("step", "why"), [("learn", "trains"), ("squeeze: {ratio: 0.1}", "needs the PyTorch model")]
)
def test_an_onnx_file_takes_no_such_step(tmp_path, step, why):
    (tmp_path / "net.onnx").write_bytes(b"x")
    recipe = parse_recipe(f"model: net.onnx\ndata: d\nsteps:\n  - {step}", source=str(tmp_path / "r.yaml"))
    with pytest.raises(BadInput, match=f"{why}, but the model net.onnx is an ONNX file"):
        check_order(recipe)
    check_order(parse_recipe("model: net.onnx\ndata: d\nsteps: [seal]", source=str(tmp_path / "r.yaml")))


def test_training_quantization_is_refused_on_a_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"x")
    text = "model: net.onnx\ndata: d\nsteps: [{quantize: {epochs: 1}}]"
    with pytest.raises(BadInput, match=r"quantize \(line 3\) trains"):
        check_order(parse_recipe(text, source=str(tmp_path / "r.yaml")))
    check_order(parse_recipe(text.replace("epochs: 1", "epochs: 0"), source=str(tmp_path / "r.yaml")))


def test_paths_start_from_the_recipe_s_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "net.py").write_text("def Net():\n    pass\n")
    (tmp_path / "here" / "photos").mkdir()
    file = tmp_path / "here" / "recipe.yaml"
    file.write_text("model: ./net.py:Net\ndata: {image-folder: {root: photos}}\n")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("here/recipe.yaml")
    assert recipe.model == f"{tmp_path}/here/net.py:Net"
    assert recipe.data_options == {"root": f"{tmp_path}/here/photos"}
    assert recipe.folder == tmp_path / "here"


def test_a_stored_recipe_runs_from_where_it_lies(tmp_path):
    (tmp_path / "net.py").write_text("def Net():\n    pass\n")
    recipe = parse_recipe("model: ./net.py:Net\nsteps: [learn]", source=str(tmp_path / "recipe.yaml"))
    stored = tmp_path / "runs" / "one" / "recipe.yaml"
    stored.parent.mkdir(parents=True)
    stored.write_text(recipe.to_yaml(folder=stored.parent))
    assert "../../net.py:Net" in stored.read_text()
    assert load_recipe(stored) == recipe
    assert load_recipe(stored.parent) == recipe


def test_a_transform_of_one_s_own_is_a_step(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import "
        "ClassVar\nfrom edgekit.transforms.base import Transform\n\n@dataclass(frozen=True)\nclass "
        "Sharpen(Transform):\n    name: ClassVar[str] = 'sharpen'\n    strength: float = 1.0\n"
    )
    text = "model: x\nsteps:\n  - ./mine.py:Sharpen: {strength: 2}\n"
    recipe = parse_recipe(text, source=str(tmp_path / "r.yaml"))
    assert recipe.steps[0].strength == 2.0
    assert parse_recipe(recipe.to_yaml(), source="elsewhere.yaml") == recipe
    with pytest.raises(BadInput, match=r"has no setting 'strenght'. Did you mean 'strength'"):
        parse_recipe(text.replace("strength", "strenght"), source=str(tmp_path / "r.yaml"))


def test_a_missing_recipe_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"there is no file .*edgekit init"):
        load_recipe(tmp_path / "recipe.yaml")


def test_every_built_in_step_survives_yaml():
    samples = {
        "prune": '{ratio: 0.4, exclude: ["a.*"]}',
        "finetune": "{epochs: 2, teacher: original}",
        "distil": "{epochs: 1, hints: {a: b}}",
        "quantize": '{exclude: ["head.*"], epochs: 2}',
    }
    assert set(samples) == set(transforms._builtin)
    for name, given_settings in samples.items():
        recipe = parse_recipe(f"model: x\nsteps: [{{{name}: {given_settings}}}]")
        assert parse_recipe(recipe.to_yaml()) == recipe


def test_docstring_example():
    assert Recipe(model="resnet8", data="fashion-mnist").objective == "latency"
    assert Recipe(model="net.ONNX").is_onnx
    assert Path("x") != Recipe(model="x").folder
