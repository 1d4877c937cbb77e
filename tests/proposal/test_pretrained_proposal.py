"""The rules for recipes that start from pretrained weights, and the weights that they find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslkit.components.catalog import Catalog, Entry
from sslkit.components.kinds import find_kind
from sslkit.contracts.preprocessing import Preprocessing
from sslkit.features.class_count import CandidateScores, ClassCountProposal
from sslkit.proposal import pretrained_rules as rules
from sslkit.proposal import pretrained_weights
from sslkit.proposal.class_count_sweep import training_features
from sslkit.proposal.folder_facts import FolderFacts
from sslkit.proposal.pretrained_weights import PretrainedWeights, find_pretrained_weights, install_command
from sslkit.proposal.time_estimate import estimate_time
from sslkit.proposal.write_recipe import propose_recipe
from sslkit.recipe.load import load_recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import FeaturesComputed, Reporter

PHOTOS = FolderFacts(
    images=5000, side=300, one_size=True, colour=True, background=None, classes=7, broken=0.0, has_gpu=False
)
WEIGHTS = PretrainedWeights("timm:tf_efficientnet_lite0", "bundled", Preprocessing(224, (0.5,) * 3, (0.5,) * 3))


def sweep(classes: int, low: int, high: int) -> ClassCountProposal:
    row = CandidateScores(classes, 0.4, 1.0, 9.0, 0.9, 0.9, 0.8, 0.1, 0.9)
    return ClassCountProposal(classes, low, high, True, ("the scores agree.",), (row,), 5000, 0)


@pytest.mark.parametrize(
    ("side", "own", "view", "stored"),
    [(8, 224, 128, 16), (32, 224, 128, 32), (64, 224, 128, 64), (65, 224, 224, 65), (300, 224, 224, 224),
     (32, 96, 96, 32), (300, 518, 518, 300)],
)  # fmt: skip
def test_views_have_the_size_of_the_weights_and_small_images_a_smaller_one(
    side: int, own: int, view: int, stored: int
) -> None:
    facts = replace(PHOTOS, side=side)
    weights = replace(WEIGHTS, preprocessing=replace(WEIGHTS.preprocessing, size=own))
    assert (rules.view_size(facts, weights).value, rules.stored_size(facts, weights).value) == (view, stored)
    assert ("square of the side" in rules.view_size(facts, weights).reason) == (view < own)


@pytest.mark.parametrize(
    ("images", "k", "batch", "epochs"),
    [(8, 5, 8, 600), (20, 5, 10, 300), (1337, 5, 512, 300), (2001, 20, 512, 500), (50_000, 20, 512, 16),
     (10**7, 20, 512, 10)],
)  # fmt: skip
def test_neighbours_and_steps_depend_on_the_number_of_images(images: int, k: int, batch: int, epochs: int) -> None:
    facts = replace(PHOTOS, images=images)
    assert rules.positives(facts)["k"].value == k
    assert (rules.batch_size(facts).value, rules.epochs(facts).value) == (batch, epochs)
    assert rules.positives(replace(PHOTOS, images=4))["k"].value == 3


def test_plain_symbols_train_from_scratch() -> None:
    assert rules.use_pretrained(PHOTOS, WEIGHTS) is WEIGHTS
    assert rules.use_pretrained(replace(PHOTOS, colour=False, background=0), WEIGHTS) is None
    assert rules.use_pretrained(PHOTOS, None) is None


def test_number_of_classes_is_known_or_proposed_or_a_guess() -> None:
    assert rules.classes(PHOTOS, None).value == 7
    proposed = rules.classes(PHOTOS, sweep(9, 8, 12))
    assert (proposed.value, "8 to 12 are plausible" in proposed.reason) == (9, True)
    assert "the scores agree." in proposed.reason
    guess = rules.classes(replace(PHOTOS, classes=0), None)
    assert (guess.value, "a guess" in guess.reason) == (20, True)


def test_proposed_recipe_is_valid_and_gives_reasons(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for facts in (PHOTOS, replace(PHOTOS, side=9, images=30, colour=False), replace(PHOTOS, broken=0.3)):
        path.write_text(propose_recipe(tmp_path, facts, WEIGHTS, sweep=sweep(9, 8, 12)))
        recipe = load_recipe(path)
        assert recipe.heads[0].options.classifiers == (9,) * rules.HEADS
        assert (recipe.backbone.wiring.weights, recipe.backbone.wiring.train) == ("bundled", "none")
        assert (recipe.views.use, recipe.positives.use) == ("plain", "neighbours")
        assert (recipe.evaluation.classifier, recipe.monitor.every_epochs) == ("lowest-loss", "25%")
    assert "8 to 12" in path.read_text()


@pytest.mark.parametrize(
    ("at_hand", "source"), [({"bundled", "timm"}, "bundled"), ({"timm"}, "timm"), (set(), None)]
)  # fmt: skip
def test_weights_that_need_no_download_are_found(
    at_hand: set[str], source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm_models = pytest.importorskip("sslkit_backbones.timm_models")
    monkeypatch.setattr(timm_models.Timm, "weights_at_hand", classmethod(lambda cls, options, name: name in at_hand))
    found = find_pretrained_weights()
    assert (found.source if found else None) == source
    if found:
        assert (found.backbone, found.preprocessing.size) == ("timm:tf_efficientnet_lite0", 224)


def test_without_the_backbone_there_are_no_weights_and_no_command() -> None:
    assert find_pretrained_weights(Catalog(())) is None
    assert install_command(Catalog(())) == ""
    entry = Entry(find_kind("backbone"), "timm", "some-plugin", "1", "some_plugin:Missing")
    assert find_pretrained_weights(Catalog((entry,))) is None
    assert install_command(Catalog((entry,))) == "pip install 'some-plugin[pretrained]'"


def save_photos(root: Path, count: int) -> list[Path]:
    root.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        level = (60, 120, 200)[number % 3]
        pixels = generator.normal(level, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
        pixels[..., number % 3] = 0
        Image.fromarray(pixels).save(root / f"{number:02}.png")
    return sorted(root.iterdir())


def test_training_finds_the_features_of_the_proposal_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    weights = find_pretrained_weights()
    assert weights is not None
    files = save_photos(tmp_path / "photos", 24)
    path = tmp_path / "recipe.toml"
    facts = replace(PHOTOS, images=24, side=40, classes=2)
    path.write_text(propose_recipe(tmp_path / "photos", facts, weights))
    recipe = load_recipe(path)
    computed: list[tuple[int, int]] = []
    features = training_features(recipe, "cpu", lambda done, total: computed.append((done, total)))
    assert (features.shape, computed[-1]) == ((24, 1280), (24, 24))

    path.write_text(propose_recipe(tmp_path / "photos", replace(facts, classes=3), weights))
    events: list[object] = []

    class Recorder(Reporter):
        def on_event(self, event: object) -> None:
            events.append(event)

    assert dry_run(load_recipe(path), Recorder())["data"]["images"] == 24
    assert not [event for event in events if isinstance(event, FeaturesComputed)]

    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(b"broken")
    estimate = estimate_time(recipe, [*files, broken], "cpu")
    assert 0 < estimate.feature_seconds < 60
    assert 0 < estimate.training_seconds < 600


def test_a_backbone_without_the_sources_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_weights, "SOURCES", ("elsewhere",))
    assert find_pretrained_weights() is None
