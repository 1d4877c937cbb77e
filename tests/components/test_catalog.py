from __future__ import annotations

import pytest

from sslkit.components.catalog import Catalog
from sslkit.components.kinds import KINDS, find_kind
from sslkit.errors import AmbiguousComponentError, InputError, UnknownComponentError

LOSS = find_kind("loss")


def test_entry_points_are_found_without_importing_them(install) -> None:
    install("sslkit-mine", "[sslkit.losses]\nmine = mine_module:Mine\n", version="2.5", mine_module="1 / 0")
    entry = Catalog.scan().find(LOSS, "mine")
    assert (entry.distribution, entry.version, entry.target) == ("sslkit-mine", "2.5", "mine_module:Mine")
    assert entry.qualified == "sslkit-mine:mine"


def test_a_kind_is_found_by_singular_and_plural() -> None:
    for kind in KINDS:
        assert find_kind(kind.singular) is kind
        assert find_kind(kind.plural) is kind
        assert kind.group == f"sslkit.{kind.plural}"
    with pytest.raises(InputError, match=r"called 'lossy': did you mean 'loss'\? the kinds are"):
        find_kind("lossy")


def test_components_with_the_same_name_need_the_name_of_their_distribution(install) -> None:
    install("alpha", "[sslkit.losses]\nsame = a:A\n", version="1.1")
    install("Beta_Gamma", "[sslkit.losses]\nsame = b:B\n")
    catalog = Catalog.scan()
    with pytest.raises(AmbiguousComponentError) as error:
        catalog.find(LOSS, "same")
    assert str(error.value) == (
        "2 distributions offer a loss called 'same': Beta_Gamma 1.0, alpha 1.1; write 'Beta_Gamma:same' or 'alpha:same'"
    )
    assert catalog.find(LOSS, "alpha:same").target == "a:A"
    assert catalog.find(LOSS, "beta-gamma:same").target == "b:B"


def test_the_first_of_two_installed_versions_wins_as_in_python(install, tmp_path, monkeypatch) -> None:
    install("alpha", "[sslkit.losses]\nthing = a:New\n", version="2.0")
    behind = tmp_path / "behind" / "alpha-1.0.dist-info"
    behind.mkdir(parents=True)
    (behind / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
    (behind / "entry_points.txt").write_text("[sslkit.losses]\nthing = a:Old\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path, str(behind.parent)])
    assert Catalog.scan().find(LOSS, "thing").version == "2.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("selfclss", "no installed loss is called 'selfclss': did you mean 'selfcls'?"),
        ("resnet18", "no installed loss is called 'resnet18': 'resnet18' is a backbone"),
        (
            "sslkit-absent:loss",
            "'sslkit-absent:loss': install it: pip install sslkit-absent",
        ),
    ],
)
def test_the_error_for_an_unknown_name_has_a_suggestion(name: str, message: str) -> None:
    with pytest.raises(UnknownComponentError) as error:
        Catalog.scan().find(LOSS, name)
    assert str(error.value).endswith(message)


def test_malformed_metadata_does_not_affect_other_distributions(install) -> None:
    install("broken-metadata", "[sslkit.losses]\nthis line has no equals sign\n")
    install("good", "[sslkit.losses]\ngood = g:G\n")
    catalog = Catalog.scan()
    assert catalog.find(LOSS, "good").distribution == "good"
    assert [name for name, _ in catalog.unreadable] == ["broken-metadata"]


def test_the_environment_variable_hides_distributions(install, monkeypatch) -> None:
    install("my-plugin", "[sslkit.losses]\nmine = m:M\n")
    monkeypatch.setenv("SSLKIT_PLUGINS", "")
    assert {entry.distribution for entry in Catalog.scan().entries} == {"sslkit"}
    with pytest.raises(UnknownComponentError, match="my-plugin offers it, but SSLKIT_PLUGINS hides that distribution"):
        Catalog.scan().find(LOSS, "mine")
    monkeypatch.setenv("SSLKIT_PLUGINS", "My_Plugin, nothing-such")
    catalog = Catalog.scan()
    assert {entry.distribution for entry in catalog.entries} == {"sslkit", "my-plugin"}
    assert catalog.missing == ("nothing-such",)


def test_a_variant_is_found_unless_a_distribution_has_that_name(install) -> None:
    install("alpha", "[sslkit.losses]\nfamily = a:A\n")
    entry = Catalog.scan().find(LOSS, "family:small")
    assert (entry.name, entry.variant, entry.qualified) == ("family", "small", "alpha:family")
    install("family", "[sslkit.losses]\nsmall = f:F\n")
    assert Catalog.scan().find(LOSS, "family:small").target == "f:F"
