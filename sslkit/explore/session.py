"""A session of ``sslkit explore``: loads the images in the background, and computes maps.

torch is imported in the background, so that the page opens at once.
"""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sslkit.errors import InputError, SslkitError
from sslkit.explore.training_job import TrainingJob
from sslkit.runs.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from sslkit.device.hardware import DeviceName
    from sslkit.explore.pictures import Pictures
    from sslkit.explore.queries import Queries
    from sslkit.explore.workbench import Workbench


@dataclass(frozen=True)
class Loaded:
    """What is available once the images are loaded.

    Attributes:
        bench: classes and corrections.
        queries: answers to queries.
        pictures: thumbnails and images.
    """

    bench: Workbench
    queries: Queries
    pictures: Pictures


class NotLoadedError(SslkitError):
    """The images are not loaded yet, or cannot be loaded."""


class Session:
    """State of a running ``sslkit explore``: the run that the page shows, its images and corrections, and the training.

    A background thread loads the images.

    Args:
        run: a finished run.
        device: device that computes features and trains the head, or ``auto``.

    Attributes:
        run: the run that the page shows.
        error: why loading failed, or None if it has not failed.
        training: the job that trains the head with corrections.
    """

    def __init__(self, run: Run, device: DeviceName) -> None:
        self.run, self.device = run, device
        self.error: str | None = None
        self.training = TrainingJob(device)
        self._stage: tuple[str, int, int] = ("loading the network", 0, 1)
        self._loaded: Loaded | None = None
        self._maps: dict[str, Tensor] = {}
        self._computing: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._load, name="explore-load", daemon=True)

    def start(self) -> None:
        """Start loading the images."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until loading the images has succeeded or failed."""
        self._thread.join()

    def close(self) -> None:
        """Stop the training if it is running, and close the run's log of corrections."""
        self.training.stop()
        if self._loaded is not None:
            self._loaded.bench.close()

    def status(self) -> dict[str, Any]:
        """Return the loading progress, as JSON values."""
        stage, done, total = self._stage
        state = "failed" if self.error is not None else "loading" if self._loaded is None else "ready"
        return {"state": state, "stage": stage, "done": done, "total": total, "error": self.error, "run": self.run.name}

    @property
    def loaded(self) -> Loaded:
        """The loaded images.

        Raises:
            NotLoadedError: the images are not loaded yet, or cannot be loaded.
        """
        if self._loaded is None:
            raise NotLoadedError(self.error or "the images are being loaded")
        return self._loaded

    def corrected(self) -> int | None:
        """Return the number of corrected images in the run that is shown, or None if the images are not loaded."""
        return None if self._loaded is None else int(self._loaded.bench.corrected.sum())

    def open_trained(self) -> None:
        """Show the run that was trained with corrections, instead of the run that was corrected.

        Raises:
            InputError: no training has finished.
            RunError: the files of the new run cannot be written.
        """
        from sslkit.explore.queries import Queries
        from sslkit.explore.workbench import Workbench
        from sslkit.trained.installed_versions import corrections_note, version_differences

        trained = self.training.result
        if trained is None or trained.run.path == self.run.path:
            raise InputError("no training has finished")
        with self._lock:
            before = self.loaded
            notes = (*version_differences(trained.run), *corrections_note(trained.run))
            images = replace(before.bench.images, logits=trained.logits, stability=None, notes=notes)
            bench = Workbench(trained.run, images)
            self._loaded = Loaded(bench, Queries(bench, before.queries.outliers), before.pictures)
            self.run = trained.run
        before.bench.close()

    def map(self, method: str) -> Tensor | None:
        """Return the map ``[N, 2]`` of all images, or None while a background thread computes it.

        Args:
            method: ``pca`` or ``tsne``.

        Raises:
            InputError: there is no such method, or there are too many images for it.
        """
        from sslkit.explore.feature_map import MAX_TSNE, pca_map

        images = self.loaded.bench.images
        with self._lock:
            if method in self._maps:
                return self._maps[method]
            if method == "pca":
                self._maps[method] = pca_map(images.features)
                return self._maps[method]
            if method != "tsne":
                raise InputError(f"there is no map {method!r}: use pca or tsne")
            if not 4 <= len(images) <= MAX_TSNE:
                raise InputError(f"t-SNE needs 4 to {MAX_TSNE} images, and the run has {len(images)}")
            if method not in self._computing:
                thread = threading.Thread(target=self._compute_tsne, name="explore-tsne", daemon=True)
                self._computing[method] = thread
                thread.start()
        return None

    def _compute_tsne(self) -> None:
        from sslkit.explore.feature_map import tsne_map

        self._maps["tsne"] = tsne_map(self.loaded.bench.images.features)

    def _load(self) -> None:
        # Loading makes many objects that stay. The garbage collector would search them again and again.
        gc.disable()
        try:
            from sslkit.device.hardware import choose_device
            from sslkit.explore.pictures import Pictures
            from sslkit.explore.queries import Queries
            from sslkit.explore.run_images import load_run_images
            from sslkit.explore.workbench import Workbench

            images = load_run_images(self.run, choose_device(self.device), self._progress)
            self._progress("reading corrections", 0, 1)
            bench = Workbench(self.run, images)
            self._loaded = Loaded(bench, Queries(bench), Pictures(images))
        except SslkitError as error:
            self.error = str(error)
        except Exception as error:  # a plugin's data set or network may raise any exception
            self.error = f"{type(error).__name__}: {error}"
        finally:
            gc.freeze()
            gc.enable()

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._stage = (stage, done, total)
