from __future__ import annotations

import pytest

from sslkit.components.catalog import Catalog
from sslkit.components.kinds import KINDS, find_kind
from sslkit.errors import AmbiguousComponentError, InputError, UnknownComponentError

LOSS = find_kind("loss")


def test_finds_what_a_distribution_announces_without_importing_it(install) -> None:
    install("sslkit-mine", "[sslkit.losses]\nmine = mine_module:Mine\n", version="2.5", mine_module="1 / 0")
    entry = Catalog.scan().find(LOSS, "mine")
    assert (entry.distribution, entry.version, entry.target) == ("sslkit-mine", "2.5", "mine_module:Mine")
    assert entry.qualified == "sslkit-mine:mine"


def test_every_kind_is_found_by_singular_and_plural() -> None:
    for kind in KINDS:
        assert find_kind(kind.singular) is kind
        assert find_kind(kind.plural) is kind
        assert kind.group == f"sslkit.{kind.plural}"
    with pytest.raises(InputError, match=r"called 'lossy': did you mean 'loss'\? the kinds are"):
        find_kind("lossy")


def test_two_distributions_of_one_name_are_named_and_told_apart(install) -> None:
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


def test_the_first_of_two_installed_versions_counts_as_it_does_for_python(install, tmp_path, monkeypatch) -> None:
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
        ("sslkit-absent:loss", "no installed loss is called 'sslkit-absent:loss': install it: pip install sslkit-absent"),
    ],
)
def test_unknown_names_come_with_advice(name: str, message: str) -> None:
    with pytest.raises(UnknownComponentError) as error:
        Catalog.scan().find(LOSS, name)
    assert str(error.value) == message


def test_malformed_metadata_harms_nobody_else(install) -> None:
    install("broken-metadata", "[sslkit.losses]\nthis line has no equals sign\n")
    install("good", "[sslkit.losses]\ngood = g:G\n")
    catalog = Catalog.scan()
    assert catalog.find(LOSS, "good").distribution == "good"
    assert [name for name, _ in catalog.unreadable] == ["broken-metadata"]


def test_the_variable_limits_what_is_seen(install, monkeypatch) -> None:
    install("my-plugin", "[sslkit.losses]\nmine = m:M\n")
    monkeypatch.setenv("SSLKIT_PLUGINS", "")
    assert {entry.distribution for entry in Catalog.scan().entries} == {"sslkit"}
    with pytest.raises(UnknownComponentError, match="my-plugin offers it, but SSLKIT_PLUGINS hides that distribution"):
        Catalog.scan().find(LOSS, "mine")
    monkeypatch.setenv("SSLKIT_PLUGINS", "My_Plugin, nothing-such")
    catalog = Catalog.scan()
    assert {entry.distribution for entry in catalog.entries} == {"sslkit", "my-plugin"}
    assert catalog.missing == ("nothing-such",)


def test_a_family_is_found_with_its_variant_and_a_distribution_of_that_name_goes_first(install) -> None:
    install("alpha", "[sslkit.losses]\nfamily = a:A\n")
    entry = Catalog.scan().find(LOSS, "family:small")
    assert (entry.name, entry.variant, entry.qualified) == ("family", "small", "alpha:family")
    install("family", "[sslkit.losses]\nsmall = f:F\n")
    assert Catalog.scan().find(LOSS, "family:small").target == "f:F"
