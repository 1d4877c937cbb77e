"""Build the losses of a recipe, and choose a trained head for evaluation."""

from __future__ import annotations

from dataclasses import replace

from sslkit.assembly.build_component import build_component
from sslkit.assembly.needs import head_name, method_class, visible_views
from sslkit.contracts.context import Context
from sslkit.contracts.duration import count_whole_epochs
from sslkit.contracts.head import Head
from sslkit.contracts.loss import Loss
from sslkit.contracts.method import WeightedLoss
from sslkit.errors import RecipeError
from sslkit.recipe.recipe import ComponentSpec, Recipe


def build_loss(recipe: Recipe, spec: ComponentSpec, heads: dict[str, Head], context: Context) -> WeightedLoss:
    """Build a loss; its context contains the output sizes of its head, and the number of views that the loss reads."""
    assert issubclass(spec.component, Loss)
    name = head_name(spec, heads)
    head = heads.get(name)
    loss_context = replace(
        visible_views(spec.component, visible_views(method_class(recipe), context)),
        embedding_dim=head.embedding_dim if head is not None else 0,
        classifiers=tuple(head.classifiers) if head is not None else (),
    )
    loss = build_component(recipe, spec, Loss, loss_context)
    start_epoch = count_whole_epochs(spec.wiring.start_epoch, recipe.train.epochs)
    return WeightedLoss(spec.name, loss, spec.wiring.weight, name, start_epoch)


def evaluation_head(recipe: Recipe, heads: dict[str, Head]) -> str:
    """Return the name of the head for evaluation: ``evaluation.head`` of the recipe, or else the first trained head.

    A head is trained if a loss reads its outputs. In a recipe without losses, the method has its own objective, and all
    heads count as trained. Without heads, the name is empty.

    Raises:
        RecipeError: ``evaluation.head`` is not trained, or the head has no classifier ``evaluation.classifier``.
    """
    trained = [head_name(spec, heads) for spec in recipe.losses] or list(heads)
    name = recipe.evaluation.head or next((name for name in heads if name in trained), next(iter(heads), ""))
    if recipe.evaluation.head and name not in trained:
        message = f"no loss reads the head {name!r}, so it is not trained"
        raise RecipeError([recipe.document.problem(("evaluation", "head"), message)])
    classifier = recipe.evaluation.classifier
    count = len(heads[name].classifiers) if name else 0
    if isinstance(classifier, int) and count and classifier >= count:
        message = f"must be the index of one of the head's classifiers, 0 to {count - 1}, not {classifier}"
        raise RecipeError([recipe.document.problem(("evaluation", "classifier"), message)])
    return name
