"""Figures of samples: true and predicted waypoints."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from atma18.geometry.camera import Camera
from atma18.geometry.path_grid import HALF_WIDTH_M
from atma18.plots.style import check_lengths, waypoints
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FloatArray, UInt8Array

_CHAIN: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.8}
TRUTH = _CHAIN | {"color": "#56B4E9", "marker": "s", "markersize": 8, "linewidth": 3, "label": "truth"}
PREDICTED = _CHAIN | {"color": "#E69F00", "marker": "o", "markersize": 4.5, "linewidth": 1.5, "label": "predicted"}
"""The true waypoints are drawn first with a broader line, so they stay visible behind a perfect prediction."""

REACHES_M = (10.0, 20.0, 40.0, 90.0)
"""Lengths of the panel from above; the true waypoints choose one, so a sample looks the same in every run."""


def trajectories(
    frames: UInt8Array, predicted_m: FloatArray, truth_m: FloatArray, camera: Camera, titles: Sequence[str]
) -> Figure:
    """Draw each sample's waypoints on its frame and, beside it, from above.

    Args:
        frames: (n, 64, 128, 3) RGB at t.
        predicted_m: (n, 18) metres, vehicle frame at t.
        truth_m: (n, 18) metres, vehicle frame at t.
        camera: the camera of the frames.
        titles: n titles of the frames.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    check_lengths("predictions, truths and titles", frames, predicted_m, truth_m, titles)
    figure, panels = _panels(11, len(titles), 2)
    chains_m = np.stack([waypoints(truth_m), waypoints(predicted_m)], axis=1)  # (n, 2, 6, 3)
    for (left, right), frame, chain_m, title in zip(panels, frames, chains_m, titles, strict=True):
        _draw_in_frame(left, frame, chain_m, camera)
        _draw_from_above(right, chain_m)
        left.set_title(title)
        right.set_title(f"MAE {np.abs(chain_m[1] - chain_m[0]).mean():.3f} m")
    figure.legend(*panels[0, 1].get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False)
    return figure


def contact_sheet(
    frames: UInt8Array,
    truth_m: FloatArray,
    boxes_px: Sequence[FloatArray],
    camera: Camera,
    titles: Sequence[str],
) -> Figure:
    """Draw one row per sample: the three frames by time, the last one with the true waypoints, and the view from above.

    Args:
        frames: (n, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s.
        truth_m: (n, 18) metres, vehicle frame at t.
        boxes_px: n times (B, 4) left, top, right and bottom of traffic lights at t.
        camera: the camera of the frames.
        titles: n titles.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    check_lengths("targets, boxes and titles", frames, truth_m, boxes_px, titles)
    figure, panels = _panels(20, len(titles), 4)
    for row, shots, chain_m, boxes, title in zip(panels, frames, waypoints(truth_m), boxes_px, titles, strict=True):
        for axes, shot, when in zip(row, shots[::-1], ("t - 1.0 s", "t - 0.5 s"), strict=False):
            _draw_in_frame(axes, shot, chain_m[:0], camera)
            axes.set_title(when)
        _draw_in_frame(row[2], shots[0], chain_m[None], camera)
        for left, top, right, bottom in boxes:
            row[2].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="#F0E442"))
        _draw_from_above(row[3], chain_m[None])
        row[2].set_title(f"t: {title}")
        row[3].set_title("0.5 … 3.0 s")
    return figure


def path_grids(
    frames: UInt8Array, grids: UInt8Array, cells_px: FloatArray, distances_m: FloatArray, titles: Sequence[str]
) -> Figure:
    """Draw each sample's frame with the edges of its grid, and the grid beside it with the nearest row at the bottom.

    Args:
        frames: (n, 64, 128, 3) RGB at t.
        grids: (n, rows, columns, 3) RGB, the nearest row first.
        cells_px: (n, rows, columns, 2) pixels of the cells in the frame; NaN behind the camera.
        distances_m: (n, rows) metres from the car along the path.
        titles: n titles of the frames.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    check_lengths("grids, cells, distances and titles", frames, grids, cells_px, distances_m, titles)
    figure, panels = _panels(9, len(titles), 2, (2, 1))
    for (left, right), frame, grid, cells, row_m, title in zip(
        panels, frames, grids, cells_px, distances_m, titles, strict=True
    ):
        _draw_frame(left, frame)
        for line in (cells[:, 0], cells[:, cells.shape[1] // 2], cells[:, -1], cells[0], cells[-1]):
            left.plot(line[:, 0], line[:, 1], color="#F0E442", linewidth=1)
        left.set_title(title)
        right.imshow(grid, origin="lower", aspect="auto", interpolation="nearest")
        ticks = [0, len(row_m) // 2, len(row_m) - 1]
        right.set_yticks(ticks, [f"{row_m[tick]:.0f}" for tick in ticks])
        columns = grid.shape[1]
        right.set_xticks([0, (columns - 1) / 2, columns - 1], [f"{HALF_WIDTH_M:g}", "0", f"{-HALF_WIDTH_M:g}"])
        right.set(xlabel="to the left of the path (m)", ylabel="along the path (m)", title="grid")
    return figure


def _panels(
    width_in: float, rows: int, columns: int, widths: Sequence[float] | None = None
) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its (rows, columns) axes at fixed places: a layout takes longer to compute than to draw."""
    height_in = 2.9 * rows + 0.4
    figure = Figure(figsize=(width_in, height_in))
    sides = {"left": 0.02, "right": 1 - 0.1 / width_in, "bottom": 0.5 / height_in, "top": 1 - 0.6 / height_in}
    places = sides | {"wspace": 0.14, "hspace": 0.42}
    panels = figure.subplots(rows, columns, squeeze=False, width_ratios=widths, gridspec_kw=places)
    return figure, panels


def _draw_in_frame(axes: Axes, frame: UInt8Array, chains_m: FloatArray, camera: Camera) -> None:
    """Draw true and predicted waypoints, (0 to 2, 6, 3), over a frame; those outside the view are not drawn."""
    per_frame = np.array([FRAME_WIDTH_PX, FRAME_HEIGHT_PX]) / camera.image_size_px
    for pixels, style in zip(camera.project(chains_m) * per_frame, (TRUTH, PREDICTED), strict=False):
        axes.plot(pixels[:, 0], pixels[:, 1], **style)
    _draw_frame(axes, frame)


def _draw_frame(axes: Axes, frame: UInt8Array) -> None:
    axes.imshow(frame, interpolation="nearest")
    axes.set(xlim=(-0.5, FRAME_WIDTH_PX - 0.5), ylim=(FRAME_HEIGHT_PX - 0.5, -0.5))
    axes.set_axis_off()


def _draw_from_above(axes: Axes, chains_m: FloatArray) -> None:
    """Draw true and predicted waypoints, (1 or 2, 6, 3), from above; the car at the origin heads to the right."""
    needed_m = max(chains_m[0, :, 0].max(), 4.5 * np.abs(chains_m[0, :, 1]).max())
    reach_m = next((reach for reach in REACHES_M if 0.9 * reach >= needed_m), float(np.ceil(needed_m / 0.9)))
    axes.plot(0, 0, marker=">", markersize=9, color="0.3", linestyle="none")
    for chain_m, style in zip(chains_m, (TRUTH, PREDICTED), strict=False):
        axes.plot(chain_m[:, 0], chain_m[:, 1], **style)
    axes.set(xlim=(-0.1 * reach_m, 0.9 * reach_m), ylim=(-0.25 * reach_m, 0.25 * reach_m), aspect="equal")
    axes.set(xlabel="x, forward (m)", ylabel="y, left (m)")
    axes.grid(alpha=0.3)
