"""Frames have the pixels of their files; they are decoded once, and again only if a file changes."""

import hashlib
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atma18.cache import Cache
from atma18.data import frames
from atma18.data.frames import decode, open_store
from atma18.schema import FRAME_FILES

IDS = np.array(["a_20", "a_120", "b_20"])


def random_pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (64, 128, 3), dtype=np.uint8)


def png(pixels, **options):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture
def images(tmp_path):
    """Frames of three samples; frame `column` of sample `row` shows `random_pixels(3 * row + column)`."""
    folder = tmp_path / "images"
    for row, sample_id in enumerate(IDS):
        (folder / sample_id).mkdir(parents=True)
        for column, name in enumerate(FRAME_FILES):
            # Level 0 does not compress, so that all files have the same size.
            (folder / sample_id / name).write_bytes(png(random_pixels(3 * row + column), compress_level=0))
    return folder


@pytest.fixture
def cache(tmp_path):
    return Cache.open(tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, by name."""
    names = []

    def watched(content, where):
        names.append("/".join(Path(where).parts[-2:]))
        return decode(content, where)

    monkeypatch.setattr(frames, "decode", watched)
    return names


def test_a_frame_has_the_pixels_of_its_file():
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[0, 127] = (255, 1, 2)  # red, at the right end of the top row
    pixels[63, 0] = (3, 4, 250)  # blue, at the left end of the bottom row

    frame = decode(png(pixels), "here")

    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, pixels)


@pytest.mark.parametrize(
    ("convert", "expected_of"),
    [
        pytest.param(lambda p: p, lambda p: p, id="colour"),
        pytest.param(lambda p: p[..., 0], lambda p: np.repeat(p[..., :1], 3, axis=2), id="grey"),
        pytest.param(lambda p: np.dstack([p, np.full((64, 128), 7, np.uint8)]), lambda p: p, id="with transparency"),
    ],
)
@pytest.mark.parametrize("level", [0, 9])
def test_how_a_png_is_written_does_not_change_the_frame(convert, expected_of, level):
    pixels = random_pixels(1)
    frame = decode(png(convert(pixels), compress_level=level), "here")
    np.testing.assert_array_equal(frame, expected_of(pixels))


WHOLE = png(random_pixels(0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            png(np.zeros((128, 64, 3), np.uint8)), "expected a frame of 128 x 64 px, found 64 x 128", id="on its side"
        ),
        pytest.param(png(np.zeros((128, 256, 3), np.uint8)), "128 x 64 px, found 256 x 128", id="twice the size"),
        pytest.param(b"", "expected a whole PNG image", id="empty"),
        pytest.param(b"GIF89a nothing more", "expected a whole PNG image", id="not an image"),
        pytest.param(WHOLE[:4], "expected a whole PNG image", id="cut in the signature"),
        pytest.param(WHOLE[:30], "expected a whole PNG image", id="cut in the header"),
        pytest.param(WHOLE[: len(WHOLE) // 2], "expected a whole PNG image", id="cut in the pixels"),
        pytest.param(
            WHOLE[:9000] + bytes([WHOLE[9000] ^ 255]) + WHOLE[9001:], "expected a whole PNG image", id="one byte wrong"
        ),
    ],
)
def test_what_is_no_whole_frame_is_refused_by_name(images, cache, content, message):
    path = images / "a_120" / "image_t-0.5.png"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=message) as one:
        decode(content, "request 7")
    with pytest.raises(ValueError, match=message) as many:
        open_store(images, IDS, cache)

    assert str(one.value).startswith("request 7: ")
    assert str(many.value).startswith(f"{path}: ")


def test_all_frames_are_read_before_the_bad_ones_are_named(images, cache):
    for sample_id in IDS[:2]:
        for name in FRAME_FILES:
            (images / sample_id / name).write_bytes(b"no image")

    with pytest.raises(ValueError, match="and 3 more: replace these files") as refused:
        open_store(images, IDS, cache)

    assert [str(images / IDS[0] / name) in str(refused.value) for name in FRAME_FILES] == [True] * 3


def test_an_image_of_16_bits_is_refused_not_cut(images):
    stream = BytesIO()
    Image.fromarray(np.full((64, 128), 40_000, np.uint16)).save(stream, "PNG")

    with pytest.raises(ValueError, match="8 bits per channel, found 16"):
        decode(stream.getvalue(), "here")


def test_missing_frames_are_refused_by_name(images, cache):
    (images / "a_20" / "image_t.png").unlink()
    (images / "b_20" / "image_t-1.0.png").unlink()

    with pytest.raises(
        ValueError, match=r"expected 9 frames, missing: a_20/image_t\.png, b_20/image_t-1\.0\.png: add them"
    ):
        open_store(images, IDS, cache)


def test_a_store_that_could_not_be_made_leaves_nothing(images, cache):
    (images / "b_20" / "image_t.png").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a whole PNG image"):
        open_store(images, IDS, cache)
    assert [path for kind in ("frames", "frames-seen") for path in (cache.root / kind).rglob("*")] == []


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=["in order", "another order"])
def test_each_sample_gets_its_three_frames_and_their_digests(images, cache, order):
    store = open_store(images, IDS[order], cache)

    assert store.frames.shape == (3, 3, 64, 128, 3)
    assert store.sha256.shape == (3, 3, 32)
    for row, sample in enumerate(order):
        for column in range(3):
            pixels = random_pixels(3 * sample + column)
            np.testing.assert_array_equal(store.frames[row, column], pixels)
            assert store.sha256[row, column].tobytes() == hashlib.sha256(pixels.tobytes()).digest()


def test_more_samples_than_one_task_decodes_all_have_their_frames(tmp_path, cache):
    ids = np.array([f"a_{k}" for k in range(130)])  # two full tasks and a rest
    for k, sample_id in enumerate(ids):
        (tmp_path / sample_id).mkdir()
        for name in FRAME_FILES:
            (tmp_path / sample_id / name).write_bytes(png(np.full((64, 128, 3), k, np.uint8), compress_level=1))

    store = open_store(tmp_path, ids, cache)

    np.testing.assert_array_equal(
        store.frames, np.broadcast_to(np.arange(130)[:, None, None, None, None], (130, 3, 64, 128, 3))
    )


def test_frames_are_mapped_from_a_file_that_cannot_be_written(images, cache):
    store = open_store(images, IDS, cache)

    assert isinstance(store.frames, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.frames[0] = 0


def test_opening_again_decodes_nothing(images, cache, decoded):
    first = open_store(images, IDS, cache)
    assert len(decoded) == 9
    decoded.clear()

    second = open_store(images, IDS, cache)

    assert decoded == []
    np.testing.assert_array_equal(second.frames, first.frames)
    np.testing.assert_array_equal(second.sha256, first.sha256)


def test_another_choice_of_samples_has_its_own_frames(images, cache):
    open_store(images, IDS, cache)
    store = open_store(images, IDS[1:2], cache)
    np.testing.assert_array_equal(store.frames[0], [random_pixels(3), random_pixels(4), random_pixels(5)])


def stores_in(cache):
    return {path.name for path in (cache.root / "frames").iterdir() if path.is_dir()}


def rewrite_with_other_compression(images):
    for path in images.rglob("*.png"):
        path.write_bytes(png(np.asarray(Image.open(path)), compress_level=9))


def touch(images):
    for path in images.rglob("*.png"):
        os.utime(path, (1, 1))


def move(images):
    images.rename(images.with_name("moved"))
    images.symlink_to(images.with_name("moved"))


@pytest.mark.parametrize("change", [touch, rewrite_with_other_compression, move])
def test_files_that_changed_in_form_only_have_the_same_content(images, cache, decoded, change):
    before = open_store(images, IDS, cache).sha256
    decoded.clear()
    change(images)

    after = open_store(images, IDS, cache).sha256

    assert len(decoded) == 9  # it did look again
    np.testing.assert_array_equal(after, before)
    assert len(stores_in(cache)) == 1


def test_a_changed_pixel_changes_the_digest_of_its_frame_alone(images, cache):
    before = open_store(images, IDS, cache).sha256
    pixels = random_pixels(5)
    pixels[63, 127, 2] ^= 1
    (images / "a_120" / "image_t-1.0.png").write_bytes(png(pixels))

    store = open_store(images, IDS, cache)

    changed = (store.sha256 != before).any(axis=2)
    assert np.argwhere(changed).tolist() == [[1, 2]]
    np.testing.assert_array_equal(store.frames[1, 2], pixels)


def rewrite_unseen(path, pixels):
    """Change the pixels and nothing that the file system says of the file."""
    before, content = path.stat(), png(pixels, compress_level=0)
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def test_verifying_notices_a_change_that_the_file_system_hides(images, cache, decoded):
    before = open_store(images, IDS, cache).sha256
    rewrite_unseen(images / "b_20" / "image_t.png", random_pixels(99))

    verified = open_store(images, IDS, cache, verify=True)
    decoded.clear()
    later = open_store(images, IDS, cache)

    for store in (verified, later):
        np.testing.assert_array_equal(store.frames[2, 0], random_pixels(99))
        assert np.argwhere((store.sha256 != before).any(axis=2)).tolist() == [[2, 0]]
    assert decoded == []  # what was verified is known from now on


def test_verifying_what_is_unchanged_changes_nothing(images, cache, decoded):
    before = open_store(images, IDS, cache)
    decoded.clear()

    after = open_store(images, IDS, cache, verify=True)

    assert len(decoded) == 9
    np.testing.assert_array_equal(after.sha256, before.sha256)
    assert len(stores_in(cache)) == 1


def test_verifying_replaces_frames_that_were_changed_in_the_cache(images, cache):
    open_store(images, IDS, cache)
    [key] = stores_in(cache)
    np.load(cache.root / "frames" / key / "pixels.npy", mmap_mode="r+")[:] = 0  # the same size, and known files

    np.testing.assert_array_equal(open_store(images, IDS, cache, verify=True).frames[2, 0], random_pixels(6))


def test_frames_that_were_cleaned_from_the_cache_are_decoded_again(images, cache):
    before = open_store(images, IDS, cache).frames[:].copy()
    (key,) = stores_in(cache)
    for path in (cache.root / "frames" / key).iterdir():
        path.unlink()
    (cache.root / "frames" / key).rmdir()

    np.testing.assert_array_equal(open_store(images, IDS, cache).frames, before)


def test_a_hidden_change_is_not_kept_under_the_old_content_when_the_frames_were_cleaned(images, cache):
    open_store(images, IDS, cache)
    [entry] = [entry for entry in Cache.open(cache.root).entries() if entry.kind == "frames"]
    cache.forget("frames", entry.key)
    rewrite_unseen(images / "b_20" / "image_t.png", random_pixels(99))

    with pytest.raises(ValueError, match=r"expected the frames of the last time.*verify=true"):
        open_store(images, IDS, cache)

    assert stores_in(cache) == set()
    np.testing.assert_array_equal(open_store(images, IDS, cache, verify=True).frames[2, 0], random_pixels(99))


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF"])
def test_an_image_of_another_kind_is_refused(kind):
    other = BytesIO()
    Image.new("RGB", (128, 64)).save(other, kind)

    with pytest.raises(ValueError, match=r"^here: expected a whole PNG image"):
        decode(other.getvalue(), "here")


def test_a_header_that_promises_a_giant_image_is_refused_unread():
    ihdr = struct.pack(">4sIIBBBBB", b"IHDR", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))

    with pytest.raises(ValueError, match=r"^here: expected a whole PNG image"):
        decode(png, "here")
