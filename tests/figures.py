"""Figures that are not drawn: on small drives, drawing takes most of a step's time."""

import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

_SHOWN = {
    Line2D: Line2D.get_xydata,
    AxesImage: AxesImage.get_array,
    Collection: Collection.get_offsets,
    Text: lambda text: np.frombuffer(text.get_text().encode(), np.uint8),
}


@contextmanager
def undrawn():
    """Let every figure be saved as one pixel, whose colour is a checksum of what `_artists` finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _one_pixel)
        yield


@contextmanager
def drawn(savefig=Figure.savefig):
    """Let figures be drawn nevertheless."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


def _one_pixel(figure, file, **_):
    checksum = 0
    for artist in _artists(figure):
        for kind, shown in _SHOWN.items():
            if isinstance(artist, kind):
                checksum = zlib.crc32(np.ascontiguousarray(shown(artist)).tobytes(), checksum)
    Image.new("RGB", (1, 1), f"#{checksum >> 8:06x}").save(file, "PNG")


def _artists(figure):
    """All that a figure shows, legends included, but for the labels of ticks: making ticks takes most of the time."""
    yield from figure.texts
    for axes in figure.axes:
        yield from (*axes.get_children(), axes.xaxis.label, axes.yaxis.label)
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes)):
        yield from legend.findobj() if legend else ()
