"""Captured training steps, with a tape of operators on the CPU in place of CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from equal_runs import assert_equal_runs
from recording_reporter import RecordingReporter
from shipped_recipes import RECIPES, in_one_epoch
from tape_graphs import TapeGraphs
from torch import Tensor

from sslkit.assembly.assemble import Assembly, assemble
from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.contracts.optimizer import Optimizer
from sslkit.errors import TrainingError
from sslkit.recipe.load import load_recipe
from sslkit.training.step import captured_step
from sslkit.training.step.packed_buffer import PackedBuffer
from sslkit.training.step.stepper import choose_graphs
from sslkit.training.train import resume, train
from sslkit_selfcls.loss import SelfClassifierLoss

SMALL = ["backbone={use='convnet', width=2}", "train.batch_size=100", "monitor.every_epochs=0"]
SMALL += ["train.precision=float32", "train.device=cpu", "train.checkpoint_every=1 epochs", "monitor.collapse=off"]


def test_each_phase_has_its_own_graphs(
    graphs: TapeGraphs, without_graphs: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["head.freeze_prototypes=8 steps", "loss.queue_size=400", "loss.queue_start=16 steps"]
    recipe = load_recipe(RECIPES / "swav.toml", [*SMALL, *in_one_epoch("swav"), "train.epochs=3", *settings])
    monkeypatch.setattr(captured_step, "CHECK_EVERY", 5)
    run = train(recipe, tmp_path / "captured")
    assert len(graphs.tapes) == 7  # the last of four phases is captured again after 5, 10 and 15 launches
    assert_equal_runs(run, without_graphs(recipe, tmp_path / "eager"))


def test_a_resumed_run_ends_in_the_same_bits(tiny: Path, graphs: TapeGraphs, tmp_path: Path, stop_at: Any) -> None:
    settings = ["backbone.width=4", "train.batch_size=100", "monitor.every_epochs=0", "loss.queue_size=300"]
    recipe = load_recipe(tiny, settings)
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([9]))
    assert (run.status.state, run.status.step) == ("interrupted", 9)
    assert len(graphs.tapes) >= 2
    assert_equal_runs(resume(run), uninterrupted)


@pytest.mark.usefixtures("diverge_in_step_8")
def test_the_guard_undoes_a_captured_step(tiny: Path, graphs: TapeGraphs, tmp_path: Path) -> None:
    settings = ["backbone.width=4", "train.batch_size=100", "train.checkpoint_every=7 steps", "monitor.every_epochs=0"]
    with pytest.raises(TrainingError, match=r"diverged in step 8 .*loss is nan.* checkpoint, of step 7, is from befo"):
        train(load_recipe(tiny, settings), tmp_path)
    assert graphs.launches > 3


def _context_of_two_processes(assembly: Assembly) -> Assembly:
    world = SimpleNamespace(size=2)
    return replace(assembly, context=replace(assembly.context, world=world))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("mmcr", lambda assembly: assembly, "the loss 'mmcr' syncs the device"),
        ("simclr", _context_of_two_processes, "there is more than one process"),
        ("simclr", lambda assembly: replace(assembly, optimizer=Optimizer), "the optimizer 'lars' is not capturable"),
    ],
)
def test_the_reason_for_steps_without_a_graph_is_reported(
    name: str, change: Callable[[Assembly], Assembly], reason: str
) -> None:
    recipe, notes = load_recipe(RECIPES / f"{name}.toml", [*SMALL, *in_one_epoch(name)]), []
    assert choose_graphs(change(assemble(recipe)), "cuda", notes.append) is None
    assert notes == [f"train.capture: steps run without a CUDA graph, because {reason}"]
    assert choose_graphs(assemble(recipe), "cpu", notes.append) is None
    assert len(notes) == 1


def _read_value(loss: SelfClassifierLoss, views: ViewOutputs) -> float:
    return float(views.index[0]) * 0 + 1


def _schedule_on_the_host(loss: SelfClassifierLoss, views: ViewOutputs) -> float:
    return 1 + 0.01 * views.step


def _host_counter(loss: SelfClassifierLoss, views: ViewOutputs) -> float:
    loss.calls = getattr(loss, "calls", 0) + 1
    return 1 + 0.01 * loss.calls


def _constant(loss: SelfClassifierLoss, views: ViewOutputs) -> Tensor:
    return torch.tensor(1.0)


def _own_random_numbers(loss: SelfClassifierLoss, views: ViewOutputs) -> Tensor:
    return torch.rand((), generator=torch.Generator().manual_seed(views.step))


def _new_tensor(loss: SelfClassifierLoss, views: ViewOutputs) -> float:
    loss.mean = views.student.logits[0][0].detach().mean()
    return 1.0


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (_read_value, "sslkit_selfcls.loss.SelfClassifierLoss reads a tensor value on the host"),
        (_schedule_on_the_host, "sslkit_selfcls.loss.SelfClassifierLoss runs aten::mul with a number that changes"),
        (_host_counter, "sslkit_selfcls.loss.SelfClassifierLoss runs aten::mul with a number that changes"),
        (_constant, "sslkit_selfcls.loss.SelfClassifierLoss makes a tensor from Python numbers in each step"),
        (
            _own_random_numbers,
            "sslkit_selfcls.loss.SelfClassifierLoss draws random numbers from a generator of its own",
        ),
        (_new_tensor, "SelfClassifierLoss.mean of 'loss_modules.0' is a new tensor in each step"),
    ],
)
def test_a_step_that_cannot_be_repeated_runs_without_a_graph(
    factor: Callable[..., Any],
    reason: str,
    tiny: Path,
    graphs: TapeGraphs,
    without_graphs: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = SelfClassifierLoss.forward

    def forward_with_factor(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output, weight = forward(self, views), factor(self, views)
        return LossOutput(output.total * weight, output.terms, output.per_classifier)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_factor)
    recipe = load_recipe(tiny, ["backbone.width=4", "train.epochs=2", "monitor.every_epochs=0"])
    reporter = RecordingReporter()
    train(recipe, tmp_path, reporter)
    (note,) = (note for note in reporter.notes if "train.capture" in note)
    assert note.startswith(f"train.capture: steps run without a CUDA graph, because {reason}")
    assert graphs.launches == 0


def test_a_change_within_a_phase_stops_training(
    tiny: Path, graphs: TapeGraphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SelfClassifierLoss.forward

    def forward_with_factor(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        return output if views.step < 12 else LossOutput(output.total * 2, output.terms, output.per_classifier)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_factor)
    monkeypatch.setattr(captured_step, "CHECK_EVERY", 5)
    settings = ["backbone.width=4", "train.batch_size=100", "monitor.every_epochs=0", "train.epochs=2"]
    message = r"step 9, captured as a CUDA graph, differs from step 14 .*: sslkit_selfcls.loss.SelfClassifierLoss runs"
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(tiny, settings), tmp_path)


def test_packed_tensors_keep_their_addresses_dtypes_and_values() -> None:
    values = {"index": torch.arange(3), "flag": torch.tensor([True, False]), "scale": torch.rand(2, 3)}
    buffer = PackedBuffer(values, torch.device("cpu"))
    addresses = {name: tensor.data_ptr() for name, tensor in buffer.tensors.items()}
    for factor in (1, 2):
        changed = {name: value * factor if value.dtype != torch.bool else value for name, value in values.items()}
        buffer.write(changed)
        assert all(torch.equal(buffer.tensors[name], value) for name, value in changed.items())
        assert all(buffer.tensors[name].dtype == value.dtype for name, value in changed.items())
    assert {name: tensor.data_ptr() for name, tensor in buffer.tensors.items()} == addresses
    assert all(address % 8 == 0 for address in addresses.values())
