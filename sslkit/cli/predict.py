"""``sslkit predict``: write the discovered class of each image file."""

from __future__ import annotations

from sslkit.cli.common.console import reserve_stdout
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.image_files import (
    ForceOption,
    ImagesArgument,
    OutOption,
    RequiredRunArgument,
    print_result,
    progress_bar,
)
from sslkit.cli.common.options import DeviceOption, JsonOption, RunsOption


def command(
    run: RequiredRunArgument,
    images: ImagesArgument,
    *,
    out: OutOption,
    force: ForceOption = False,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Write the discovered class of each image, with the class name, confidence and outlier score, as CSV.

    After an interruption, run the same command again to resume.
    """
    from sslkit.inference.output_files import require_new_outputs
    from sslkit.runs.find import runs_folder

    if not force:  # checked before torch is imported, which takes seconds
        require_new_outputs(out)
    chosen = find_finished(run, runs_folder(runs))

    from sslkit.device.hardware import choose_device
    from sslkit.inference.predict import predict

    with reserve_stdout(json), progress_bar(disable=json) as on_progress:
        result = predict(chosen, images, out, choose_device(device), on_progress, overwrite=force)
    print_result(result, as_json=json)
