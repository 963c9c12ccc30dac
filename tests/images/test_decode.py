"""Every kind of file: what is decoded, how it is shown, and what is refused for which reason."""

from __future__ import annotations

import io
import os
import re
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instruct.images.fault import ImageFault
from instruct.images.hashes import content_hash, differing_bits, perceptual_hash
from instruct.images.store import ImagePolicy, read_image_file, store_image
from instruct.reasons import Reason
from tests.images.pictures import chest, claims, opened, rotated, saved

both = pytest.mark.parametrize("tools", ["pillow", "fast"])
LOSSLESS = ImagePolicy("long", 4000, "png")


def grey_of(data: bytes, tools: str = "pillow") -> np.ndarray:
    """What is stored of a file that is not resized."""
    return opened(store_image(data, ImagePolicy("long", 4000, "png", tools)).data)  # type: ignore[arg-type]


def fault(data: bytes, tools: str = "pillow") -> ImageFault:
    with pytest.raises(ImageFault) as caught:
        store_image(data, ImagePolicy(backend=tools))  # type: ignore[arg-type]
    return caught.value


@both
@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "JPEG2000"])
def test_grey_images_of_any_lossless_format_are_kept_to_the_bit(form, tools):
    pixels = chest()
    settings = {"irreversible": False} if form == "JPEG2000" else {}
    assert (grey_of(saved(pixels, form, **settings), tools) == pixels).all()


@both
def test_sixteen_bits_are_windowed_not_clipped(tools):
    values = chest(top=4095)
    for form in ("PNG", "TIFF"):
        stored = store_image(saved(values, form), ImagePolicy("long", 4000, "png", tools))
        grey = opened(stored.data)
        low, high = np.percentile(values, [0.5, 99.5])
        assert (stored.window.method, stored.window.low, stored.window.high) == ("percentile", low, high)
        assert np.abs(grey - np.clip((values - low) / (high - low) * 255, 0, 255)).max() <= 0.51
        assert len(np.unique(grey)) > 200


@both
@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_windowed_too(mode, tools):
    values = chest(300, 260, top=60000).astype(np.int32) * 1000 if mode == "I" else chest().astype(np.float32) / 255
    stored = store_image(saved(Image.fromarray(values), "TIFF"), ImagePolicy("short", 100, "png", tools))
    assert stored.window.method == "percentile"
    grey = opened(stored.data)
    assert min(grey.shape) <= 100 and grey.min() == 0 and grey.max() == 255


@both
def test_colour_palette_and_cmyk_become_luma(tools):
    pixels = chest()
    colour = Image.merge("RGB", [Image.fromarray(pixels), Image.fromarray(pixels[::-1]), Image.fromarray(pixels // 2)])
    luma = np.asarray(colour.convert("L"))
    assert (grey_of(saved(colour, "PNG"), tools) == luma).all()
    palette = Image.fromarray(pixels).convert("P")
    assert (grey_of(saved(palette, "PNG"), tools) == pixels).all()
    assert (grey_of(saved(palette, "GIF"), tools) == pixels).all()
    assert (grey_of(saved(Image.fromarray(pixels > 99), "PNG"), tools) == np.where(pixels > 99, 255, 0)).all()
    for form, settings in (("TIFF", {}), ("JPEG", {"quality": 98})):
        found = grey_of(saved(Image.fromarray(pixels).convert("CMYK"), form, **settings), tools)
        assert np.abs(found.astype(int) - pixels).max() <= (0 if form == "TIFF" else 6)


@both
def test_what_is_transparent_is_black(tools):
    pixels = chest()
    shown = np.arange(pixels.size).reshape(pixels.shape) % 3 > 0
    alpha = Image.fromarray(np.where(shown, 255, 0).astype(np.uint8))
    for image in (
        Image.merge("LA", [Image.fromarray(pixels), alpha]),
        Image.merge("RGBA", [Image.fromarray(pixels)] * 3 + [alpha]),
    ):
        assert (grey_of(saved(image, "PNG"), tools) == np.where(shown, pixels, 0)).all()


@both
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_right_way_up(orientation, form, tools):
    pixels = chest(200, 120)
    stored = store_image(rotated(pixels, orientation, form), ImagePolicy("long", 4000, "png", tools))
    assert stored.geometry.source == (120, 200)
    assert np.abs(opened(stored.data).astype(int) - pixels).max() <= (4 if form == "JPEG" else 0)
    # Scaled decoding and turning together.
    small = store_image(rotated(pixels, orientation, form), ImagePolicy("short", 30, "png", tools))
    upright = store_image(saved(pixels, "PNG"), ImagePolicy("short", 30, "png", tools))
    assert opened(small.data).shape == opened(upright.data).shape == (50, 30)
    assert np.abs(opened(small.data).astype(int) - opened(upright.data)).mean() < 3


@both
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("shape", [(1528, 1272), (1001, 777), (640, 2000)])
def test_scaled_decoding_gives_the_picture_that_full_decoding_gives(shape, colour, tools):
    pixels = Image.fromarray(chest(*shape))
    data = saved(pixels.convert("RGB") if colour else pixels, "JPEG", quality=95)
    for how, side in (("short", 150), ("long", 224), ("square", 96)):
        stored = store_image(data, ImagePolicy(how, side, "png", tools))
        width, height = stored.geometry.content
        left, top = stored.geometry.offset
        grey = opened(stored.data)[top : top + height, left : left + width].astype(int)
        full = np.asarray(pixels.resize((width, height), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(grey - full).mean() < 1.5


@both
def test_resizing_does_not_alias(tools):
    """Stripes finer than the stored pixels become grey, not other stripes."""
    for kind, top in ((np.uint8, 255), (np.uint16, 4000)):
        stripes = np.zeros((800, 800), kind)
        stripes[:, ::2] = top
        stripes[:80], stripes[-80:] = 0, top  # black and white, for the window
        grey = opened(store_image(saved(stripes, "PNG"), ImagePolicy("short", 128, "png", tools)).data)
        assert np.abs(grey[20:-20].astype(int) - 127.5).max() < 12


def test_both_backends_give_nearly_the_same():
    for data in (saved(chest(900, 700, 4000), "PNG"), saved(chest(900, 700), "JPEG", quality=95)):
        one, other = (store_image(data, ImagePolicy("short", 256, "png", tools)) for tools in ("pillow", "fast"))
        assert one.geometry == other.geometry
        assert np.abs(opened(one.data).astype(int) - opened(other.data)).mean() < 1
        assert differing_bits(np.uint64(one.perceptual), np.uint64(other.perceptual)) <= 4


@both
def test_encodings(tools):
    pixels = chest(300, 300)
    png = store_image(saved(pixels, "PNG"), ImagePolicy("long", 300, "png", tools))
    jpeg = store_image(saved(pixels, "PNG"), ImagePolicy("long", 300, "jpeg", tools))
    assert png.data[:4] == b"\x89PNG" and jpeg.data[:2] == b"\xff\xd8" and len(jpeg.data) < len(png.data)
    assert (opened(png.data) == pixels).all()
    assert 0 < np.abs(opened(jpeg.data).astype(int) - pixels).mean() < 1.5
    # Hashes are of the pixels before they are encoded.
    assert png.content == jpeg.content == content_hash(pixels)
    assert png.perceptual == int(perceptual_hash(pixels))


def test_a_square_is_padded_with_black_and_hashed_without_it():
    pixels = np.maximum(chest(100, 60), 9)
    stored = store_image(saved(pixels, "PNG"), ImagePolicy("square", 100, "png"))
    grey = opened(stored.data)
    assert grey.shape == (100, 100) and stored.geometry.offset == (20, 0)
    assert (grey[:, 20:80] == pixels).all() and not grey[:, :20].any() and not grey[:, 80:].any()
    assert stored.content == content_hash(pixels)


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits, grey and alpha (two channels), colour, or colour and alpha."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))


@both
def test_colour_and_transparency_of_sixteen_bits_keep_their_depth(tools):
    """Twelve bits in sixteen: their upper bytes alone are nearly black."""
    values = chest(top=4095)
    full = np.full_like(values, 65535)
    plain = store_image(saved(values, "PNG"), ImagePolicy("short", 64, "png", tools))
    for channels in ([values] * 3, [values, full], [values] * 3 + [full]):
        stored = store_image(deep_png(np.stack(channels, 2)), ImagePolicy("short", 64, "png", tools))
        assert stored == plain and stored.window.method == "percentile"
    colour = np.stack([chest(top=4095, seed=seed) for seed in range(3)], 2)
    low, high = np.percentile(luma := colour @ np.array([0.299, 0.587, 0.114]), [0.5, 99.5])
    assert np.abs(grey_of(deep_png(colour), tools) - np.clip((luma - low) / (high - low) * 255, 0, 255)).max() <= 1
    shown = np.arange(values.size).reshape(values.shape) % 3 > 0
    alpha = np.where(shown, 65535, 0).astype(np.uint16)
    expected = grey_of(saved(np.where(shown, values, 0).astype(np.uint16), "PNG"), tools)
    for channels in ([values, alpha], [values] * 3 + [alpha]):
        assert (grey_of(deep_png(np.stack(channels, 2)), tools) == expected).all()


@both
def test_a_colour_of_sixteen_bits_that_stands_for_transparent(tools):
    values = np.maximum(chest(top=4095), 1)
    values[:30] = 4095
    data = deep_png(np.stack([values] * 3, 2))
    chunk = b"tRNS" + struct.pack(">HHH", 4095, 4095, 4095)
    clear = data[:33] + struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    expected = np.where(values == 4095, 0, values).astype(np.uint16)
    assert (grey_of(clear, tools) == grey_of(saved(expected, "PNG"), tools)).all()


@both
def test_a_damaged_colour_png_of_16_bits(tools):
    data = deep_png(np.random.default_rng(0).integers(0, 65535, (200, 160, 3)).astype(np.uint16))
    for spoilt in (data[: len(data) // 2], data[:50_000] + bytes(9) + data[50_009:]):
        assert fault(spoilt, tools).reason == Reason.UNDECODABLE_IMAGE


def plain_tiff(values: np.ndarray, photometric: int) -> bytes:
    """A TIFF of 8 or 16 bits without compression, grey or of three colours; photometric 0 is WhiteIsZero."""
    bits, samples = 8 * values.dtype.itemsize, values.size // (values.shape[0] * values.shape[1])
    pixels = values.astype(f"<u{bits // 8}").tobytes()
    depth, end = (bits, 1) if samples == 1 else (8 + len(pixels), samples)
    tags = {256: values.shape[1], 257: values.shape[0], 258: depth, 259: 1, 262: photometric, 273: 8, 277: samples}
    tags |= {278: values.shape[0], 279: len(pixels)}
    entries = [struct.pack("<HHII", tag, 3 if tag == 258 else 4, end if tag == 258 else 1, tags[tag]) for tag in tags]
    start = 8 + len(pixels) + 2 * samples
    head = b"II*\0" + struct.pack("<I", start) + pixels + struct.pack(f"<{samples}H", *[bits] * samples)
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


@both
@pytest.mark.parametrize("top", [255, 4095])
def test_a_tiff_in_which_white_is_zero(top, tools):
    values = chest(top=top)
    plain = store_image(plain_tiff(values, 1), ImagePolicy("long", 4000, "png", tools))
    turned = store_image(plain_tiff(values, 0), ImagePolicy("long", 4000, "png", tools))
    assert (opened(turned.data) == 255 - opened(plain.data)).all()
    assert (turned.window.inverted, plain.window.inverted) == (top > 255, False)  # Pillow turns 8 bits itself


@both
def test_a_tiff_of_more_than_8_bits_in_colour_is_refused(tools):
    colour = np.stack([chest(top=4095)] * 3, 2)
    assert (grey_of(plain_tiff((colour >> 4).astype(np.uint8), 2), tools) == colour[:, :, 0] >> 4).all()
    found = fault(plain_tiff(colour, 2), tools)
    assert (found.reason, found.detail) == (
        Reason.UNDECODABLE_IMAGE,
        "TIFF colour of more than 8 bits is not read",
    )


# What is refused.


@both
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("share", [0.98, 0.5, 0.1])
def test_a_file_that_ends_early(form, share, tools):
    rng = np.random.default_rng(0)
    data = saved(rng.integers(0, 255, (200, 160), np.uint8), form)
    assert fault(data[: int(len(data) * share)], tools).reason == Reason.UNDECODABLE_IMAGE


@both
def test_a_damaged_png_of_16_bits(tools):
    data = bytearray(saved(np.random.default_rng(0).integers(0, 65535, (200, 160)).astype(np.uint16), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert fault(bytes(data), tools).reason == Reason.UNDECODABLE_IMAGE


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"<html>404</html>", "no image"),
        (b"\x89PNG\r\n\x1a\n", "PNG|no image|chunk"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "no image"),
    ],
)
def test_what_is_no_image(data, says):
    found = fault(data)
    assert found.reason == Reason.UNDECODABLE_IMAGE
    assert re.search(says, found.detail)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_the_content_decides_not_the_name(tmp_path, form):
    pixels = chest()
    for name in ("a.png", "a.jpg", "a.dcm", "a", "a.txt"):
        (tmp_path / name).write_bytes(saved(pixels, form))
        stored = store_image(read_image_file(tmp_path, name, links=False), LOSSLESS)
        assert np.abs(opened(stored.data).astype(int) - pixels).max() <= (0 if form == "PNG" else 40)


@both
def test_sizes_that_no_radiograph_has(tools):
    start = time.process_time()
    assert fault(claims(20_000, 20_000), tools).reason == Reason.IMAGE_TOO_LARGE
    assert fault(claims(10**6, 10**6), tools).reason == Reason.IMAGE_TOO_LARGE
    with pytest.warns(Image.DecompressionBombWarning):
        assert fault(claims(10_000, 9_000), tools).reason == Reason.IMAGE_TOO_LARGE
    for shape in ((1, 1), (1, 3000), (7, 500)):
        found = fault(saved(chest(*shape) if min(shape) > 1 else np.zeros(shape, np.uint8), "PNG"), tools)
        assert found.reason == Reason.IMAGE_TOO_SMALL and f"{shape[1]} x {shape[0]} pixels" in found.detail
    assert time.process_time() - start < 2  # no pixel was decoded
    assert opened(store_image(saved(chest(8, 8), "PNG"), LOSSLESS).data).shape == (8, 8)


@both
def test_a_side_that_jpeg_cannot_hold(tools):
    long = saved(np.repeat(np.linspace(0, 255, 70_000).astype(np.uint8)[:, None], 8, axis=1), "PNG")
    found = fault(long, tools)
    assert found.reason == Reason.IMAGE_TOO_LARGE
    assert "8 x 70,000 pixels" in found.detail and "65,500" in found.detail
    assert opened(store_image(long, ImagePolicy("short", 512, "png", tools)).data).shape == (70_000, 8)
    assert opened(store_image(long, ImagePolicy("square", 512, "jpeg", tools)).data).shape == (512, 512)


def test_what_a_library_cannot_encode_is_a_fault_of_the_image(monkeypatch):
    for error in (OSError("encoder error -2"), ValueError("no"), RuntimeError("turbo")):

        def fails(*_given: object, error: Exception = error) -> bytes:
            raise error

        monkeypatch.setattr("instruct.images.backend.PillowBackend.encode", fails)
        found = fault(saved(chest(), "PNG"))
        assert found.reason == Reason.UNDECODABLE_IMAGE
        assert found.detail == f"cannot be encoded as jpeg: {error}"


def test_a_png_that_unpacks_to_a_gigabyte_of_text(tmp_path):
    good = saved(chest(), "PNG")
    packer = zlib.compressobj(9)
    bomb = b"x\0\0" + b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb + struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    data = good[:33] + chunk + good[33:]
    assert len(data) < 2 << 20
    found = fault(data)
    assert found.reason == Reason.UNDECODABLE_IMAGE and "MAX_TEXT_CHUNK" in found.detail


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_frames(form):
    pages = [Image.fromarray(chest(seed=seed)) for seed in range(3)]
    found = fault(saved(pages[0], form, save_all=True, append_images=pages[1:]))
    assert (found.reason, found.detail) == (Reason.SEVERAL_FRAMES, "3 frames")


@both
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("value", [0, 200])
def test_one_grey_everywhere(kind, value, tools):
    assert fault(saved(np.full((300, 200), value, kind), "PNG"), tools).reason == Reason.CONSTANT_IMAGE


@given(
    st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "PNG16"]),
    st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=6)), max_size=3),
    st.sampled_from(["pillow", "fast"]),
)
def test_damage_is_a_fault_or_harmless_never_anything_else(form, changes, tools):
    data = bytearray(saved(chest(40, 32, 4000), "PNG") if form == "PNG16" else saved(chest(40, 32), form))
    for at, patch in changes:
        data[at : at + len(patch)] = patch
    try:
        stored = store_image(bytes(data), ImagePolicy("short", 16, backend=tools))
    except ImageFault as found:
        assert found.reason in set(Reason) and found.detail
    else:
        assert opened(stored.data).size


# Files of a folder.


def test_links_out_of_the_folder_are_refused_unless_they_are_allowed(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    data = saved(chest(), "PNG")
    (other / "secret.png").write_bytes(data)
    (root / "inside.png").write_bytes(data)
    (root / "to_inside.png").symlink_to(root / "inside.png")
    (root / "out.png").symlink_to(other / "secret.png")
    (root / "folder").symlink_to(other)
    linked_root = tmp_path / "linked"
    linked_root.symlink_to(root)
    for name in ("inside.png", "to_inside.png"):
        assert read_image_file(root, name, links=False) == read_image_file(linked_root, name, links=False) == data
    for name in ("out.png", "folder/secret.png"):
        with pytest.raises(ImageFault, match=r"images\.links=follow") as caught:
            read_image_file(root, name, links=False)
        assert caught.value.reason == Reason.PATH_OUTSIDE_ROOT
        assert read_image_file(root, name, links=True) == data


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("gone.png", "folder.png", "gone/x.png"):
        with pytest.raises(ImageFault) as caught:
            read_image_file(tmp_path, name, links=False)
        assert caught.value.reason == Reason.MISSING_IMAGE
    with (tmp_path / "sparse.png").open("wb") as file:
        os.truncate(file.fileno(), (1 << 30) + 1)
    with pytest.raises(ImageFault) as caught:
        read_image_file(tmp_path, "sparse.png", links=False)
    assert caught.value.reason == Reason.IMAGE_TOO_LARGE


def test_stored_images_do_not_depend_on_anything_but_file_and_policy():
    data = saved(chest(400, 300, 4000), "PNG")
    for tools in ("pillow", "fast"):
        policy = ImagePolicy("square", 128, "jpeg", tools)
        assert store_image(data, policy) == store_image(bytes(bytearray(data)), policy)
    assert Image.open(io.BytesIO(store_image(data, ImagePolicy()).data)).mode == "L"
