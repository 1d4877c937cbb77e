from __future__ import annotations

import re

import pytest

from sslkit.components.catalog import Catalog
from sslkit.components.importer import load_component
from sslkit.components.kinds import find_kind
from sslkit.errors import BrokenComponentError, IncompatibleComponentError, UnknownComponentError

GOOD = """
import sslkit
class Good(sslkit.Loss):
    api = {api}
    def forward(self, views):
        return sslkit.LossOutput(views.student.features[0].sum())
"""

REMEDY = r"upgrade plug \(pip install -U plug\), uninstall it \(pip uninstall plug\), or use another loss"


def install_and_load(install, target: str, **modules: str):
    install("plug", f"[sslkit.losses]\nthing = {target}\n", version="3.1", **modules)
    return load_component(Catalog.scan().find(find_kind("loss"), "thing"))


def test_a_valid_class_is_loaded(install) -> None:
    assert install_and_load(install, "plug_good:Good", plug_good=GOOD.format(api=2)).__name__ == "Good"


@pytest.mark.parametrize(
    ("module", "source", "target", "cause"),
    [
        ("p1", "", "p1_is_gone:Thing", "stale entry point, there is no module 'p1_is_gone'; "),
        ("p2", "", "p2:Thing", "stale entry point, p2 has no 'Thing'; "),
        ("p3", "import fancylib.core", "p3:Thing", "it needs the module 'fancylib', which is not installed; "),
        ("p4", "def broken(:", "p4:Thing", "importing p4 fails with SyntaxError"),
        ("p5", "raise RuntimeError('no licence')", "p5:Thing", "importing p5 fails with RuntimeError: no licence; "),
        ("p6", "import sys; sys.exit(3)", "p6:Thing", "importing p6 fails with SystemExit: 3; "),
        ("p7", "raise BaseException", "p7:Thing", "importing p7 fails with BaseException; "),
    ],
)
def test_an_error_names_the_broken_plugin_the_cause_and_the_remedy(install, module, source, target, cause) -> None:
    with pytest.raises(BrokenComponentError) as error:
        install_and_load(install, target, **{module: source})
    message = str(error.value)
    assert message.startswith(f"loss 'thing' of plug 3.1 (entry point sslkit.losses: thing = {target}): {cause}")
    assert re.search(REMEDY, message)


def test_the_error_for_a_missing_dependency_says_what_to_install(install) -> None:
    with pytest.raises(BrokenComponentError, match=r"install it \(pip install fancylib\), or upgrade plug"):
        install_and_load(install, "p8:Thing", p8="import fancylib.core")


@pytest.mark.parametrize(
    ("needs", "source"),
    [
        ('torch\nRequires-Dist: Fancy.Lib >=2; extra == "fancy"', "'plug[fancy]'"),
        ("fancy-lib", "fancy_lib"),
        ("%&", "fancy_lib"),
    ],
)
def test_a_missing_dependency_of_an_extra_names_the_extra(install, needs: str, source: str) -> None:
    site = install("plug", "[sslkit.losses]\nthing = p9:Thing\n", version="3.1", p9="import fancy_lib")
    with (site / "plug-3.1.dist-info" / "METADATA").open("a") as metadata:
        metadata.write(f"Requires-Dist: {needs}\n")
    with pytest.raises(BrokenComponentError, match=re.escape(f"install it (pip install {source}), or upgrade plug")):
        load_component(Catalog.scan().find(find_kind("loss"), "thing"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class Good: api = 2",
            "class Good, which is not a subclass of sslkit.Loss; report this to the author of plug",
        ),
        ("Good = 5", "it is of type int, which is not a subclass of sslkit.Loss"),
        (GOOD.format(api=99), "it needs contract version 99, this sslkit accepts 2; upgrade sslkit"),
        (GOOD.format(api=1), "it was written for contract version 1, this sslkit accepts 2; upgrade plug"),
        (GOOD.format(api=1), "For its author: a loss that compares views declares min_views"),
        (GOOD.format(api="'one'"), "it does not declare its contract version; add a line `api = 2`"),
    ],
)
def test_a_class_that_violates_the_contract_is_an_error(install, request, source, message) -> None:
    module = f"q{abs(hash(request.node.name))}"
    with pytest.raises(IncompatibleComponentError) as error:
        install_and_load(install, f"{module}:Good", **{module: source})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ('frozenset({"embeddings", "logit"})', "contain 'logit': did you mean 'logits'? the known names are features,"),
        ('{"zzz"}', "its needs contain 'zzz': the known names are features, embeddings, logits, teacher; report this"),
        ('"logits"', "its needs must be a frozenset of names, such as frozenset({'features'}), not 'logits'"),
    ],
)
def test_unknown_needs_are_an_error(install, request, needs: str, message: str) -> None:
    module = f"n{abs(hash(request.node.name))}"
    source = GOOD.format(api=2) + f"    needs = {needs}\n"
    with pytest.raises(IncompatibleComponentError) as error:
        install_and_load(install, f"{module}:Good", **{module: source})
    assert message in str(error.value)


def test_unknown_needs_of_an_evaluator_are_an_error(install) -> None:
    source = "import sslkit\nclass E(sslkit.Evaluator):\n    api = 2\n    needs = {'label'}\n    evaluate = print\n"
    install("plug", "[sslkit.evaluators]\nthing = n_evaluator:E\n", n_evaluator=source)
    with pytest.raises(IncompatibleComponentError, match=r"contain 'label': did you mean 'labels'\? .* labels, test"):
        load_component(Catalog.scan().find(find_kind("evaluator"), "thing"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("margin: float = pydantic.Field(0, gt=0)", "its option 'margin' refuses its own default 0: should be greater"),
        ("size: tuple[int, ...] = 'ten'", "its option 'size' refuses its own default 'ten': should be a valid tuple"),
    ],
)
def test_a_default_that_its_option_refuses_is_an_error(install, request, option: str, message: str) -> None:
    module = f"d{abs(hash(request.node.name))}"
    options = f"    class Options(sslkit.Options):\n        {option}\n        required: int\n    def"
    source = "import pydantic" + GOOD.format(api=2).replace("    def", options)
    with pytest.raises(IncompatibleComponentError) as error:
        install_and_load(install, f"{module}:Good", **{module: source})
    assert message in str(error.value)
    assert "report this to the author of plug" in str(error.value)


def test_defaults_that_a_recipe_must_complete_are_no_error(install) -> None:
    source = "import pydantic" + GOOD.format(api=2).replace(
        "    def",
        """    class Options(sslkit.Options):
        required: int
        low: float = 0
        high: float = 0
        @pydantic.model_validator(mode="after")
        def _order(self):
            if self.low >= self.high:
                raise ValueError("low must be below high")
            return self
    def""",
    )
    assert install_and_load(install, "p31:Good", p31=source).Options(required=1, high=2).low == 0


def test_an_option_with_a_reserved_name_is_an_error(install) -> None:
    source = GOOD.format(api=2).replace(
        "    def", "    class Options(sslkit.Options):\n        weight: float = 25.0\n    def"
    )
    message = r"its option .weight. has a name that sslkit reserves .* of every loss; .* author of plug, who must"
    with pytest.raises(IncompatibleComponentError, match=message):
        install_and_load(install, "p20:Good", p20=source)


def test_a_variant_of_a_component_without_variants_is_an_error(install) -> None:
    install("plug", "[sslkit.losses]\nthing = plug_single:Good\n", version="3.1", plug_single=GOOD.format(api=2))
    with pytest.raises(UnknownComponentError) as error:
        load_component(Catalog.scan().find(find_kind("loss"), "thing:small"))
    assert str(error.value) == (
        "no installed loss is called 'thing:small': 'thing' of plug has no variants, "
        "and no distribution is called 'thing'"
    )
