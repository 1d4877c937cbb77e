"""Schemas of the recipe keys that belong to sslkit itself rather than to a component."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sslkit.contracts.duration import MAX_EPOCHS, Interval, StartEpoch, WholeEpochs
from sslkit.contracts.options import Options


class RunSection(Options):
    """``[run]``: name, seed and loggers of the run."""

    name: str = ""
    """Name of the run's folder; empty: name of the recipe file. "latest" is reserved for the link to the newest run."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of all random numbers, 0 to 2**63 - 1."""

    deterministic: bool = False
    """Use deterministic algorithms, and warn about operations that have no deterministic algorithm."""

    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Experiment trackers that receive the rows of metrics.csv whenever a checkpoint is saved."""


class TrainSection(Options):
    """``[train]``: duration, batch size, hardware and checkpoints."""

    epochs: int = Field(ge=1, le=MAX_EPOCHS)
    """Number of epochs; an epoch is a pass over the training images unless ``steps_per_epoch`` is set."""

    steps_per_epoch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Number of optimizer steps in an epoch, at most those of a pass over the training images. ``auto``: a pass. A
    smaller number allows trainings that end within a pass; each pass still reads each image once."""

    batch_size: int = Field(ge=2, le=10_000_000)
    """Number of images in an optimizer step over all processes; a multiple of the number of processes."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Floating-point precision of the network; ``auto``: bfloat16 if the hardware computes it faster than float32."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to train on; ``auto``: a GPU if there is one."""

    devices: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 1
    """Number of processes on each machine. Each process uses one GPU and an equal part of the batch. ``auto``: one
    process for each GPU, or one process if there is no GPU."""

    nodes: int = Field(default=1, ge=1, le=1024)
    """Number of machines; start more than one with torchrun or SLURM."""

    compile: bool = False
    """Compile the backbone with ``torch.compile``. Steps become faster on GPUs, but hardly on CPUs, where a C++
    compiler is needed. The first step can take minutes longer; the time is reported after the second step."""

    capture: Literal["auto", "off"] = "auto"
    """``auto``: on a CUDA GPU, capture the training step as a CUDA graph if possible, and replay the graph, so that the
    GPU does not wait for Python. ``off``: run each step without a graph."""

    checkpoint_every: Interval = "1 epochs"
    """Interval between checkpoints in steps, epochs or minutes, such as ``"500 steps"``, or a percentage of the
    training, such as ``"10%"``."""

    keep_checkpoints: int = Field(default=2, ge=1, le=1_000_000)
    """Number of newest checkpoints to keep, in addition to the best checkpoint. Resuming skips damaged checkpoints."""


class MonitorSection(Options):
    """``[monitor]``: metrics during training. Labels are used for these metrics only, never for training."""

    log_every_steps: int = Field(default=10, ge=1, le=1_000_000_000)
    """Interval in steps between two logged values of loss and learning rate."""

    every_epochs: WholeEpochs = 1
    """Interval in epochs between two measurements on the validation split, or a percentage of the training run, such as
    ``"10%"``; 0: never."""

    collapse: Literal["warn", "stop", "off"] = "warn"
    """Reaction to a collapse of the features. ``warn``: print the likely remedy. ``stop``: also stop training. ``off``:
    nothing."""

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Fraction, in (0, 1), of the labelled training images to use for validation if the data set has no validation
    split."""

    max_images: int = Field(default=10_000, ge=1, le=1_000_000_000)
    """Maximum number of training images in which the kNN metric searches neighbours."""

    knn_k: int = Field(default=20, ge=1, le=1_000_000)
    """Number of neighbours k of the kNN accuracy."""


class EvaluationSection(Options):
    """``[evaluation]``: the classifier that evaluation and prediction use."""

    head: str = ""
    """Name of the classifier's head; empty: the first head."""

    classifier: Annotated[int, Field(ge=0)] | Literal["lowest-loss", "parent"] = 0
    """Index of the classifier in its head, from 0; ``lowest-loss``: the classifier whose training loss in the final
    epoch, divided by ln K, is lowest; ``parent``: the classifier of the run that this run continues."""


class Wiring(Options):
    """Keys of a ``[backbone]``, ``[[head]]`` or ``[[loss]]`` table that sslkit reads itself."""

    weights: str = "none"
    """Initial weights of the backbone: ``none`` (random); ``run:NAME`` (a finished run); a file ending in .safetensors,
    .pth or .pt; or a source that the backbone offers, such as ``bundled`` or ``timm``."""

    train: str = Field(default="all", pattern=r"^(all|none|norms|last [1-9][0-9]* blocks?)$")
    """Part of the backbone that is trained: ``all``, ``none``, ``norms`` (normalisation layers) or ``last N blocks``.
    With ``none``, features are computed once, and training reads features instead of images."""

    lr_scale: float = Field(default=1.0, gt=0)
    """Multiplier of the backbone's learning rate."""

    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Multiplier of the learning rate from each block of the backbone to the block before it; 1: equal rates."""

    name: str = Field(default="", pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$|^$")
    """Name of this head or loss in the recipe; empty: name of its component."""

    weight: float = Field(default=1.0, ge=0)
    """Multiplier of this loss in the total loss, 0 or more."""

    head: str = ""
    """Name of the head whose outputs this loss reads; empty: the first head."""

    start_epoch: StartEpoch = 0
    """Number of completed epochs after which this loss joins the total loss, or a percentage of the training run, such
    as ``"50%"``. A head is not trained before a loss reads its output."""
