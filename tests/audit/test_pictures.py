"""Pictures alike under other names: what counts, and that what is looked at first loses none of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from instruct.audit.pictures import Pictures, alike_images
from instruct.audit.shards import Group
from instruct.images.hashes import differing_bits, perceptual_hash
from tests.audit.builds import shard


def otherwise(image: Image.Image, way: str) -> Image.Image:
    """A copy as somebody else stores it."""
    if way == "half":
        return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    if way == "jpeg":
        data = io.BytesIO()
        image.save(data, "JPEG", quality=50)
        return Image.open(data)
    values = np.asarray(image, np.float64) / 255
    return Image.fromarray((255 * values**0.8).round().astype(np.uint8))


WAYS = ("half", "jpeg", "gamma")


def audit(folder: Path, train: dict[str, Image.Image], test: dict[str, Image.Image]) -> Pictures:
    """Pairs among images of two sources that are in two splits."""
    groups = []
    for source, split, images in (("a", "train", train), ("b", "test", test)):
        (folder / source).mkdir(parents=True)
        for name, image in images.items():
            image.save(folder / source / f"{name}.png")
        rows = [(f"{source}/p{name}", [f"{source}/s{name}"], [f"{source}/{name}.png"]) for name in images]
        groups.append(Group(source, source, split, {source: [shard(folder / f"{source}.arrow", rows)]}))
    return alike_images(groups, {"a": folder / "a", "b": folder / "b"}, threads=2)


def names(found: Pictures) -> set[tuple[str, str]]:
    return {(Path(pair.keys[0]).stem, Path(pair.keys[1]).stem) for pair in found.pairs}


def texture(seed: int) -> Image.Image:
    """A picture with detail of all sizes, as an anatomy has."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 255, (9, 9), np.uint8)).resize((600, 600), Image.Resampling.BICUBIC)
    fine = Image.fromarray(draw.integers(0, 255, (200, 200), np.uint8)).resize((600, 600), Image.Resampling.BICUBIC)
    return Image.blend(coarse, fine, 0.3).filter(ImageFilter.GaussianBlur(1))


def test_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    pictures = {str(number): texture(number) for number in range(6)}
    copies = {f"{name}-{way}": otherwise(picture, way) for name, picture in pictures.items() for way in WAYS}
    found = audit(tmp_path, pictures, copies | {f"{number}": texture(100 + number) for number in range(6)})
    assert names(found) == {(copy.partition("-")[0], copy) for copy in copies}
    assert found.looked_at == 30 and found.left_out == {}
    assert all(0.8 <= pair.correlation <= 1 for pair in found.pairs)


def test_around_the_least_correlation_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sketch, which is looked at first, leaves out no pair that the whole detail lets pass."""

    def made(seed: int, share: float) -> Image.Image:
        """A picture whose detail is another's by some share."""
        coarse, fine, other = (
            Image.fromarray(np.random.default_rng(draw).integers(0, 255, (side, side), np.uint8)).resize(
                (300, 300), Image.Resampling.BICUBIC
            )
            for draw, side in ((seed, 9), (seed + 100, 150), (seed + 200, 150))
        )
        return Image.blend(coarse, Image.blend(fine, other, share), 0.3)

    shares = {str(number): 0.3 + number / 100 for number in range(20)}
    pictures = {name: made(int(name), 0) for name in shares}
    found = audit(tmp_path / "1", pictures, {name: made(int(name), share) for name, share in shares.items()})
    monkeypatch.setattr("instruct.audit.pictures._MOST_PLANES", 256)  # every sketch passes
    all_of_them = audit(tmp_path / "2", pictures, {name: made(int(name), share) for name, share in shares.items()})
    assert all_of_them.pairs == found.pairs
    assert 5 < len(found.pairs) < 20 and min(pair.correlation for pair in found.pairs) < 0.84


def test_same_coarse_picture_with_other_detail_is_another(tmp_path: Path) -> None:
    """What chest radiographs of two people are: hashes alike, ribs elsewhere."""
    base = texture(1)
    others = {}
    for number in range(5):
        grain = np.random.default_rng(number).integers(0, 255, (150, 150), np.uint8)
        grain_image = Image.fromarray(grain).resize(base.size, Image.Resampling.BICUBIC)
        others[str(number)] = Image.blend(base.filter(ImageFilter.GaussianBlur(8)), grain_image, 0.25)
    hashes = [perceptual_hash(np.asarray(image)) for image in others.values()]
    assert all(differing_bits(one, perceptual_hash(np.asarray(base))) <= 2 for one in hashes)
    assert audit(tmp_path, {"base": base}, others).pairs == []


def test_small_pictures_are_alike_only_to_the_pixel(tmp_path: Path) -> None:
    small = texture(1).resize((200, 200))
    found = audit(tmp_path, {"one": small}, {"same": small.copy(), "near": otherwise(small, "gamma")})
    assert names(found) == {("one", "same")} and found.pairs[0].correlation == 1


def test_images_that_are_not_there_are_counted(tmp_path: Path) -> None:
    audit(tmp_path, {"one": texture(1)}, {"two": texture(2)})
    (tmp_path / "a" / "one.png").unlink()
    (tmp_path / "b" / "two.png").write_bytes(b"no picture")
    groups = [
        Group(name, name, split, {name: [tmp_path / f"{name}.arrow"]}) for name, split in (("a", "train"), ("b", "val"))
    ]
    found = alike_images(groups, {"a": tmp_path / "a", "b": tmp_path / "b"})
    assert found.left_out == {"missing_image": 1, "undecodable_image": 1} and found.looked_at == 0


@pytest.mark.parametrize("way", WAYS)
def test_real_radiographs(shared_data: Path, tmp_path: Path, way: str) -> None:
    files = sorted((shared_data / "openi" / "images").glob("*.png"))
    if not files:
        pytest.skip("needs published OpenI images")
    real = {file.stem: Image.open(file).convert("L") for file in files}
    real = {name: image.reduce(max(1, image.width // 680)) for name, image in real.items()}  # spares time
    found = audit(tmp_path, real, {f"{name}-copy": otherwise(image, way) for name, image in real.items()})
    assert names(found) == {(name, f"{name}-copy") for name in real}
