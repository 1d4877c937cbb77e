"""``sslkit plugins check``: failed tests, their lines, skipped tests and the options of a check."""

from __future__ import annotations

import json

import pytest

BAD = """
import sslkit
class Bad(sslkit.Loss):
    '''Loss that ignores other processes and has unsaved state.'''
    api = 2
    needs = frozenset({"embeddings"})
    class Options(sslkit.Options):
        undocumented: int = 1
    calls = 0
    def forward(self, views):
        self.calls += 1
        return sslkit.LossOutput(self.calls * views.student.embeddings[0].var())
"""


def test_check_reports_the_failed_tests(cli, install) -> None:
    install("bad-dist", "[sslkit.losses]\nbad = bad_module:Bad\n", bad_module=BAD)
    done = cli("plugins", "check", "bad", "--json")
    assert done.returncode == 1
    statuses = {row["test"]: row["status"] for row in json.loads(done.stdout)}
    assert {test for test, status in statuses.items() if status == "failed"} == {
        "every option is documented",
        "gradients are finite and reach every view",
        "state dict restores the full state",
        "several processes give the loss of the global batch",
    }
    shown = cli("plugins", "check", "bad-dist")
    assert shown.returncode == 1
    assert "failed: 20 of 24 tests passed" in shown.stdout
    assert "options need a docstring" in shown.stdout


def test_check_names_the_line_of_the_component(cli, install) -> None:
    lines = BAD.splitlines()
    place = f"(NAME_module.py, line {lines.index('        self.calls += 1') + 1})"
    for name, line, reason in (
        ("key", "{}['centre']", "KeyError: 'centre'"),
        ("silent", "assert not self.calls + 1", "an assertion without a message"),
        ("sync", "self.calls += views.student.embeddings[0].sum().item()", "device sync in every step: aten::"),
    ):
        install(
            f"{name}-dist",
            f"[sslkit.losses]\n{name} = {name}_module:Bad\n",
            **{f"{name}_module": BAD.replace("self.calls += 1", line)},
        )
        rows = json.loads(cli("plugins", "check", name, "--json").stdout)
        (found,) = {row["reason"] for row in rows if row["reason"].startswith(reason)}
        assert found.endswith(place.replace("NAME", name))
    constructor = "    def __init__(self, options, context):\n        context.num_classes\n    def forward"
    install(
        "new-dist", "[sslkit.losses]\nnew = new_module:Bad\n", new_module=BAD.replace("    def forward", constructor)
    )
    rows = json.loads(cli("plugins", "check", "new", "--json").stdout)
    assert [(row["test"], row["status"]) for row in rows[1:]] == [("it can be built", "failed")]
    assert "'Context' object has no attribute 'num_classes' (new_module.py, line " in rows[1]["reason"]


OTHERS = """
import sslkit, torch
class Data(sslkit.Dataset):
    '''Black images.'''
    api = 2
    splits = ("train",)
    @classmethod
    def check_options(cls, folder):
        return {}
    def load(self, split):
        if split != "train":
            raise sslkit.DataError("only train")
        images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        return RETURNED
class Views(sslkit.Views):
    '''One view.'''
    api = 2
    def __init__(self, options, context):
        super().__init__(options, context)
        self.groups = (sslkit.ViewGroup(1, context.image_size, is_global=True),)
    def draw(self, n, generator):
        return DRAWN
    def apply(self, images, parameters):
        return APPLIED
class Method(sslkit.JointEmbedding):
    '''Method without its base constructor.'''
    api = 2
    def __init__(self, options, context, parts):
        self.parts = parts
"""


@pytest.mark.parametrize(
    ("name", "replaced", "by", "message"),
    [
        ("data", "RETURNED", "images, None", "load('train') must return an sslkit.Split, not of type tuple"),
        ("data", "RETURNED", "sslkit.Split(images)", "must be a store, such as sslkit.TensorStore(images)"),
        ("data", "RETURNED", "sslkit.Split(sslkit.TensorStore(images), torch.arange(3))", "3 labels for 4 images"),
        ("views", "DRAWN", "{}", "draw must return a tuple with a dict for each group, not of type dict"),
        ("views", "APPLIED", "images.float()[None]", "apply must return a tuple with a tensor for each group, not"),
        ("method", "self.parts", "self.all_parts", "the constructor must call super().__init__ with its own arguments"),
    ],
)
def test_check_says_what_a_component_must_return(cli, install, name: str, replaced: str, by: str, message: str) -> None:
    source = OTHERS.replace(replaced, by).replace("DRAWN", "({},)").replace("APPLIED", "(images.float()[None],)")
    kinds = {"data": "datasets", "views": "views", "method": "methods"}
    install("other-dist", f"[sslkit.{kinds[name]}]\nother = other_module:{name.title()}\n", other_module=source)
    done = cli("plugins", "check", "other", "--json")
    assert done.returncode == 1
    assert any(message in row["reason"] for row in json.loads(done.stdout) if row["status"] == "failed"), done.stdout


def test_check_continues_after_a_broken_import_and_rejects_unknown_names(cli, install) -> None:
    install("crashes", "[sslkit.losses]\ncrash = crash_module:Loss\n", crash_module="raise SystemExit(9)")
    done = cli("plugins", "check", "crash", "flip", "--json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert rows[0]["status"] == "failed"
    assert "importing crash_module fails with SystemExit: 9" in rows[0]["reason"]
    assert {row["status"] for row in rows[1:]} == {"passed"}
    unknown = cli("plugins", "check", "flop")
    assert unknown.returncode == 2
    assert "no installed component or distribution is called 'flop': did you mean 'flip'?" in unknown.stderr


REQUIRED = """
import sslkit
class Margin(sslkit.Loss):
    '''Mean of the embeddings above a margin.'''
    api = 2
    needs = frozenset({"embeddings"})
    class Options(sslkit.Options):
        margin: float
        '''The margin.'''
    def __init__(self, options, context):
        super().__init__(options, context)
        if context.embedding_dim % 5:
            raise sslkit.OptionError("margin", "works for embeddings of 5 n dimensions")
    def forward(self, views):
        return sslkit.LossOutput(sum(view.square().sum(1).mean() for view in views.student.embeddings))
"""


def test_a_component_whose_tests_are_skipped_is_not_checked_with_its_own_exit_code(cli, install) -> None:
    install("strict-dist", "[sslkit.losses]\nstrict = strict_module:Margin\n", strict_module=REQUIRED)
    defaults = REQUIRED.replace("margin: float", "margin: float = 1.0")
    install("refuses-dist", "[sslkit.losses]\nrefuses = refuses_module:Margin\n", refuses_module=defaults)
    done = cli("plugins", "check", "strict", "refuses", "cifar10", "flip", "--json")
    assert done.returncode == 3
    rows = json.loads(done.stdout)
    assert {row["name"]: row["component"] for row in rows} == {
        "strict": "not checked",
        "refuses": "not checked",
        "cifar10": "not checked",
        "flip": "passed",
    }
    skipped = {(row["name"], row["test"]): row["reason"] for row in rows if row["status"] == "skipped"}
    assert skipped["strict", "all other tests"] == "there is no default for margin: give the component check_options"
    assert skipped["refuses", "all other tests"].endswith(
        "margin: works for embeddings of 5 n dimensions: give the component check_options or check_context"
    )
    assert "may take long or need data" in skipped["cifar10", "loading is repeatable"]
    shown = cli("plugins", "check", "refuses", COLUMNS="300")
    assert shown.returncode == 3
    assert "not checked: 1 of 2 tests passed" in shown.stdout
    assert "Exit code: 0 if every component passed, 1 if any failed, 3 if" in cli("plugins", "check", "--help").stdout


def test_check_options_and_context_of_a_component_are_used(cli, install) -> None:
    source = (
        REQUIRED
        + """
    check_context = {"embedding_dim": 10}
    @classmethod
    def check_options(cls, folder):
        assert list(folder.iterdir()) == []
        (folder / "some.txt").touch()
        return {"margin": 2.0}
"""
    )
    install("ready-dist", "[sslkit.losses]\nready = ready_module:Margin\n", ready_module=source)
    rows = json.loads(cli("plugins", "check", "ready", "image-folder", "cluster", "--json").stdout)
    assert [row for row in rows if row["status"] != "passed"] == []
    assert {row["component"] for row in rows} == {"passed"}
    tests = {
        name: {row["test"] for row in rows if row["name"] == name} for name in ("ready", "image-folder", "cluster")
    }
    assert "several processes give the loss of the global batch" in tests["ready"]
    assert "loading is repeatable" in tests["image-folder"]
    assert "test labels change no choice" in tests["cluster"]

    wrong = source.replace("2.0}", "'two'}")
    install("wrong-dist", "[sslkit.losses]\nwrong = wrong_module:Margin\n", wrong_module=wrong)
    failed = cli("plugins", "check", "wrong", "--json")
    assert failed.returncode == 1
    (row,) = json.loads(failed.stdout)[1:]
    assert (row["test"], row["status"]) == ("the options of the check are valid", "failed")


def test_every_test_treats_an_error_of_the_component_alike(cli, install) -> None:
    source = BAD.replace("self.calls += 1", "raise sslkit.InputError('needs embeddings of 5 n dimensions')")
    install("alike-dist", "[sslkit.losses]\nalike = alike_module:Bad\n", alike_module=source)
    rows = json.loads(cli("plugins", "check", "alike", "--json").stdout)
    called = {row["test"]: row for row in rows if "5 n dimensions" in row["reason"]}
    assert {row["status"] for row in called.values()} == {"skipped"}
    assert "works on any device without a device sync" in called
    wrong = BAD.replace("sslkit.LossOutput(", "(")
    install("tuple-dist", "[sslkit.losses]\ntuple = tuple_module:Bad\n", tuple_module=wrong)
    rows = json.loads(cli("plugins", "check", "tuple", "--json").stdout)
    (row,) = [row for row in rows if row["test"] == "loss is a finite scalar"]
    assert row["status"] == "failed"
    assert "must return a LossOutput" in row["reason"]
