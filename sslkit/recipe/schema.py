"""The sections of a recipe that the core reads itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sslkit.contracts.options import Options


class RunSection(Options):
    """``[run]``: what the run is called and how it is seeded."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$|^$")
    """Folder of the run below the runs folder; empty: the recipe file's name. Not "latest", which is always a link."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random."""

    deterministic: bool = False
    """Use deterministic algorithms, and warn about operations that have none."""

    foreign_callbacks: bool = True
    """Let callbacks run that other installed packages add to every Lightning training; false refuses to train then."""

    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Tools that are sent the rows of metrics.csv, each time a checkpoint is saved."""


class TrainSection(Options):
    """``[train]``: for how long, how much at a time, and on what."""

    epochs: int = Field(ge=1, le=10_000_000)
    """Passes over the training images."""

    batch_size: int = Field(ge=2, le=10_000_000)
    """Images in one optimizer step, over all processes."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; ``auto`` takes bfloat16 where the hardware computes it faster."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; ``auto`` takes an accelerator where there is one."""

    devices: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 1
    """Processes on each machine, a GPU each where there are any; ``auto``: as many as there are GPUs, on processors
    one.  They share each batch equally."""

    nodes: int = Field(default=1, ge=1, le=1024)
    """Machines; several are started by torchrun or SLURM."""

    strategy: Literal["ddp_find_unused_parameters_true", "ddp"] = "ddp_find_unused_parameters_true"
    """How several processes share gradients, by Lightning's name.  ``ddp`` looks for no parameters that a step does not
    use, and fails where there are some; with more than two processes it may resume to other bits."""

    compile: bool = False
    """Compile the backbone (``torch.compile``): on GPUs steps become faster, on processors hardly; the first takes up
    to minutes longer.  Needs a C++ compiler on processors.  What it cost is reported after the second step."""

    checkpoint_every: str = Field(default="1 epochs", pattern=r"^[1-9][0-9]{0,8} (steps|epochs|minutes)$")
    """How often to save what a resume needs: a number of steps, epochs or minutes, such as ``"500 steps"``."""

    keep_checkpoints: int = Field(default=2, ge=1, le=1_000_000)
    """How many of the newest checkpoints to keep, besides the best: a resume passes over damaged ones."""


class MonitorSection(Options):
    """``[monitor]``: what is measured while training, and how often.  Labels are only ever used here."""

    log_every_steps: int = Field(default=10, ge=1, le=1_000_000_000)
    """Steps between two rows of loss and learning rate."""

    every_epochs: int = Field(default=1, ge=0, le=10_000_000)
    """Epochs between two measurements on the validation split; 0: never."""

    collapse: Literal["warn", "stop", "off"] = "warn"
    """What to do where the network stops telling images apart: warn with the likely remedy, stop as well, nothing."""

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Part of the training labels that form the validation split, where the data set has none of its own."""

    max_images: int = Field(default=10_000, ge=1, le=1_000_000_000)
    """Most training images that the monitors' nearest neighbours are looked for in."""

    knn_k: int = Field(default=20, ge=1, le=1_000_000)
    """Neighbours that vote in the monitors' nearest-neighbour accuracy."""


class EvaluationSection(Options):
    """``[evaluation]``: which classifier of which head is the run's own."""

    head: str = ""
    """Name of the head; empty: the first."""

    classifier: Annotated[int, Field(ge=0)] | Literal["lowest-loss"] = 0
    """Place of the classifier in its head, or the one with the lowest training loss over the last epoch, relative to
    ln K."""


class Placement(Options):
    """What ``[[head]]`` and ``[[loss]]`` tables hold besides ``use`` and the component's options."""

    name: str = Field(default="", pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$|^$")
    """Name of this head or loss; empty: that of its component."""

    weight: float = Field(default=1.0, ge=0)
    """Factor of this loss in the sum."""

    head: str = ""
    """Name of the head whose outputs this loss reads; empty: the first."""

    start_epoch: int = Field(default=0, ge=0)
    """Epochs that have passed when this loss joins the sum; a head that no loss reads yet is not trained."""
