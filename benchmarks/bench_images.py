"""Images: storing one against the naive way, two workers against one, reading a packed dataset against its JPEGs.

    python benchmarks/bench_images.py [--images 24] [--rows 1500] [--turns 7] [--only store|workers|reading]

Everything is made up. What is compared is CPU time of the process, in turns within one run, so that a busy machine
changes little; only the workers are timed by the clock.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

import instruct
from instruct.build.execute import LocalExecutor
from instruct.build.image_job import ImageJob, run_images
from instruct.images.store import ImagePolicy, store_image
from instruct.synth import write

SIDE = 512


def thorax(height: int, width: int, seed: int = 0, noise: float = 0.9) -> np.ndarray:
    """Something like a chest in 12 bits, with noise that grows with the signal."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height - 0.5, x / width - 0.5
    lungs = np.exp(-((abs(x) - 0.2) ** 2 / 0.01 + y**2 / 0.06))
    signal = 0.55 + 0.35 * np.cos(6 * x) * np.cos(5 * y) - 0.4 * lungs + 0.02 * np.sin(60 * y + 9 * x)
    signal = signal * 3276
    signal += rng.normal(0, noise, signal.shape) * np.sqrt(np.maximum(signal, 1))
    return np.clip(signal, 0, 4095).astype(np.uint16)


def png16(height: int, width: int, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(thorax(height, width, seed, noise=0.35)).save(file, "PNG")
    return file.getvalue()


def jpeg(height: int, width: int, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray((thorax(height, width, seed, noise=0.8) >> 4).astype(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def naive_jpeg(data: bytes, mode: str) -> bytes:
    """What a script does: open, convert, resize with LANCZOS, save."""
    return _saved(Image.open(io.BytesIO(data)).convert(mode))


def naive_png16(data: bytes) -> bytes:
    values = np.asarray(Image.open(io.BytesIO(data))).astype(np.float64)
    low, high = np.percentile(values, [0.5, 99.5])
    return _saved(Image.fromarray((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)))


def _saved(image: Image.Image) -> bytes:
    scale = SIDE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def in_turns(ways: dict[str, Callable[[], Any]], turns: int) -> dict[str, list[float]]:
    """CPU milliseconds of each way, turn by turn; every second turn goes through them backwards."""
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            start = time.process_time()
            way()
            times[name].append(1000 * (time.process_time() - start))
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """By how much one way is faster than another: the median over the turns, within which the machine is the same."""
    return statistics.median(one / other for one, other in zip(times[slow], times[fast], strict=True))


def store(turns: int) -> None:
    print(f"\n| image | naive Pillow ms | {' | '.join(f'{name} ms | ratio' for name in ('pillow', 'fast'))} |")
    print("|:--|--:|--:|--:|--:|--:|")
    for name, data, naive in (
        ("JPEG 3056 x 2544, naive to RGB", jpeg(3056, 2544), lambda data: naive_jpeg(data, "RGB")),
        ("the same, naive to L", jpeg(3056, 2544), lambda data: naive_jpeg(data, "L")),
        ("16-bit PNG 2500 x 2000", png16(2000, 2500), naive_png16),
        ("16-bit PNG 1000 x 1000", png16(1000, 1000), naive_png16),
    ):
        ways: dict[str, Callable[[], Any]] = {
            "naive": lambda data=data, naive=naive: naive(data),
            "pillow": lambda data=data: store_image(data, ImagePolicy(size=SIDE)),
            "fast": lambda data=data: store_image(data, ImagePolicy(size=SIDE, backend="fast")),
        }
        found = in_turns(ways, turns)
        medians = {way: statistics.median(some) for way, some in found.items()}
        ratios = " | ".join(f"{medians[way]:.1f} | {ratio(found, 'naive', way):.2f}" for way in ("pillow", "fast"))
        print(f"| {name} ({len(data) / 1e6:.2f} MB) | {medians['naive']:.1f} | {ratios} |")


def job(root: Path, number: int, names: list[str]) -> ImageJob:
    stamps = tuple((0, 0) for _ in names)
    return ImageJob("bench", number, str(root), tuple(names), stamps, ImagePolicy(size=SIDE))


def cpu_of(job: ImageJob, file: Path) -> float:
    start = time.process_time()
    run_images(job, file)
    return time.process_time() - start


def workers(folder: Path, images: int) -> None:
    data = [png16(2000, 2500, seed) for seed in range(2)]
    names = [f"{number}.png" for number in range(images)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(data[number % 2])
    jobs = [(job(folder, number, names[number::8]), folder / f"{number}.arrow") for number in range(8)]
    print("\n| run by | wall s | CPU ms / image | images / s |\n|:--|--:|--:|--:|")
    walls: dict[int, list[float]] = {}
    for count in (1, 2, 2, 1, 1, 2):
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(cpu_of, [job(folder, 9, names[:1])] * count, [folder / f"w{n}" for n in range(count)]))
            start = time.perf_counter()
            cpu = sum(pool.map(cpu_of, *zip(*jobs, strict=True)))
            wall = time.perf_counter() - start
        walls.setdefault(count, []).append(wall)
        print(f"| {count} processes | {wall:.2f} | {1000 * cpu / images:.1f} | {images / wall:.1f} |", flush=True)
    start, cpu = time.perf_counter(), time.process_time()
    list(LocalExecutor(1).run(jobs, run_images, lambda event, **facts: None))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"| a build's one worker: two threads | {wall:.2f} | {1000 * cpu / images:.1f} | {images / wall:.1f} |")
    print(f"\ntwo processes against one, best of each: {min(walls[1]) / min(walls[2]):.2f}")


def packed(folder: Path, rows: int) -> Path:
    """A packed build whose images are of the size of radiographs stored at 512 pixels."""
    write("rexgradient", folder / "data" / "rexgradient", studies=rows // 3)
    pictures = []
    for seed in range(8):
        file = io.BytesIO()
        Image.fromarray((thorax(512, 615, seed, noise=1.2) >> 4).astype(np.uint8)).save(file, "PNG", compress_level=1)
        pictures.append(file.getvalue())
    for number, path in enumerate(sorted((folder / "data").rglob("*.png"))):
        path.write_bytes(pictures[number % len(pictures)])
    recipe = instruct.load_recipe("rexgradient", ["images.store=pack", "images.missing=drop"])
    instruct.build_dataset(recipe, folder / "out", data_root=folder / "data")
    return folder / "out"


def reading(out: Path, rows: int, turns: int) -> None:
    from torch.utils.data import DataLoader

    instruct.open_packed(out)  # imports, before anything is measured
    before, start = pa.total_allocated_bytes(), time.process_time()
    raw = instruct.open_packed(out, decode=False)
    opened = 1000 * (time.process_time() - start)
    print(f"\nopening: {opened:.1f} ms CPU, {pa.total_allocated_bytes() - before:,} bytes copied")

    order = np.random.default_rng(0).integers(0, len(raw), rows).tolist()
    keys = raw.with_format(None).remove_columns([name for name in raw.column_names if name not in ("id", "images")])
    lean = keys.with_transform(raw.format["format_kwargs"]["transform"])
    for name, dataset in (("every column", raw), ("id and images", lean)):
        start = time.process_time()
        for index in order:
            dataset[index]
        print(f"random raw rows, {name}: {rows / (time.process_time() - start):,.0f} rows/s")
        start = time.process_time()
        for first in range(0, rows, 64):
            dataset.__getitems__(order[first : first + 64])
        print(f"the same, by batches of 64: {rows / (time.process_time() - start):,.0f} rows/s")

    chosen = [index for index in order[:400] if raw[index]["images"]]
    shown = [bytes(buffer) for index in chosen for buffer in raw[index]["images"]]
    print(f"stored images: {len(shown)}, {sum(map(len, shown)) / len(shown) / 1024:.0f} KiB on average")

    def from_memory() -> int:
        count = 0
        for first in range(0, len(shown), 16):
            images = [
                Image.open(io.BytesIO(data)) for data in shown[first : first + 16]
            ]  # a batch is held in both ways
            count += len([np.asarray(image) for image in images])
        return count

    decoded = instruct.open_packed(out).select(chosen)

    def arrays(batch: list[dict[str, Any]]) -> list[np.ndarray]:
        return [np.asarray(image) for row in batch for image in row["images"]]

    def loader() -> int:
        return sum(len(batch) for batch in DataLoader(decoded, 16, collate_fn=arrays))

    assert loader() == from_memory() == len(shown)
    found = in_turns({"memory": from_memory, "loader": loader}, turns)
    memory, through = (1000 * len(shown) / statistics.median(found[name]) for name in ("memory", "loader"))
    print(
        f"decoding from memory {memory:,.0f} images/s, through a DataLoader {through:,.0f}:"
        f" {ratio(found, 'memory', 'loader'):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", choices=["store", "workers", "reading"])
    given = parser.parse_args()
    if given.only in (None, "store"):
        store(given.turns)
    folder = Path(tempfile.mkdtemp(prefix="bench-images-"))
    try:
        if given.only in (None, "workers"):
            workers(folder, given.images)
        if given.only in (None, "reading"):
            reading(packed(folder / "corpus", given.rows), given.rows, given.turns)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
