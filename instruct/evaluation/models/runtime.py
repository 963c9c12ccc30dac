"""What every model needs: torch or a clear word that it is missing, a device, safe loading, batches by length."""

from __future__ import annotations

import contextlib
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

from instruct.errors import DataError, UsageError
from instruct.evaluation.metric import Settings, Unavailable

T = TypeVar("T")
BATCH = 32
LONGEST = 512
_UNUSED = ("pooler.", "position_ids")


def require_torch() -> None:
    """Raise :class:`Unavailable` where torch or transformers is not installed (nothing is imported)."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise Unavailable(
            f"{missing[0]} missing",
            "install what model-backed metrics need: pip install 'cxr-instruct[metrics]'; "
            "or give the scores with --scores",
        )


def device_of(settings: Settings) -> Any:
    """The torch device: as set, or CUDA where there is one.

    Raises:
        UsageError: the device is unknown or not on this machine.
    """
    import torch

    name = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {reason}; expected cpu, or a device of this machine like cuda:0") from None
    return device


def read_state(path: Path, content: IO[bytes] | None = None) -> dict[str, Any]:
    """Tensors of a ``torch.save`` file, on the CPU; nothing but tensors and plain containers is unpickled.

    Args:
        path: the file, or the archive that holds it.
        content: the file's bytes where it lies in an archive.

    Raises:
        DataError: the file is damaged, or its pickle names other classes.
    """
    import torch

    try:
        state = torch.load(content or path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise DataError(
                f"{path}: refused, its pickle holds other objects than tensors ({foreign.group(1)}) and could run code "
                "when read; get the file again from its publisher"
            ) from None
        raise damaged(path, error) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path, error) from None
    if not isinstance(state, dict):
        raise DataError(f"{path}: holds a {type(state).__name__}; expected named tensors")
    return state


def load_model(kind: str, folder: Path, device: Any, **options: Any) -> Any:
    """A transformers model of a folder, in evaluation mode.

    Args:
        kind: the class, such as ``AutoModel``.
        folder: config and weights.
        device: where to put it.
        options: further arguments of ``from_pretrained``; 32-bit floats unless ``dtype`` is among them.

    Raises:
        DataError: the folder cannot be read, or its weights lack some of the model's (nothing is filled in at random).
    """
    import torch
    import transformers

    with _quiet():
        try:
            model, loading = getattr(transformers, kind).from_pretrained(
                str(folder),
                local_files_only=True,
                output_loading_info=True,
                **{"dtype": torch.float32, **options},
            )
        except Exception as error:  # config, safetensors and pickle readers raise many kinds
            raise damaged(folder, error) from None
    lost = sorted(name for name in loading["missing_keys"] if not any(part in name for part in _UNUSED))
    if lost:
        raise DataError(
            f"{folder}: the weights lack {len(lost)} of the model's tensors ({', '.join(lost[:3])} …); "
            "expected the checkpoint as released"
        )
    return model.to(device).eval()


def empty_model(folder: Path) -> Any:
    """The encoder that a folder's ``config.json`` describes, weights not set.

    Raises:
        DataError: the config cannot be read.
    """
    import transformers

    with _quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
            return transformers.AutoModel.from_config(config)
        except Exception as error:  # as above
            raise damaged(folder / "config.json", error) from None


def fill_model(model: Any, state: dict[str, Any], source: Path) -> Any:
    """Put tensors into a model; position buffers and a pooler may be absent or left over.

    Raises:
        DataError: a tensor is missing, left over, or has another shape.
    """
    try:
        loading = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{source}: the weights do not fit the encoder's config.json: {reason}") from None
    for names, what in ((loading.missing_keys, "lacks"), (loading.unexpected_keys, "has more than")):
        odd = sorted(name for name in names if not any(part in name for part in _UNUSED))
        if odd:
            raise DataError(
                f"{source}: {what} the {len(odd)} tensors {', '.join(odd[:3])} … of the encoder's config.json; "
                "expected the config of the encoder that it was trained with"
            )
    return model.eval()


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """A transformers tokenizer of a folder.

    Raises:
        DataError: it cannot be read.
    """
    import transformers

    with _quiet():
        try:
            return transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options)
        except Exception as error:  # as above
            raise damaged(folder, error) from None


def batches(lengths: Sequence[int], size: int = BATCH) -> Iterator[list[int]]:
    """Positions of items in batches of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def pad(rows: Sequence[Sequence[int]], fill: int, device: Any) -> tuple[Any, Any]:
    """Token ids padded on the right, and their mask (1 for a token); both of shape (rows, longest row)."""
    import torch

    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), fill, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        mask[row, : len(tokens)] = 1
    return ids.to(device), mask.to(device)


def once_each(held: dict[str, T], texts: Sequence[str], compute: Callable[[list[str]], Sequence[T]]) -> list[T]:
    """Outcome of every text; each distinct text that is not held yet is computed once, then held.

    Args:
        held: outcomes so far, by text; grows.
        texts: any number of times each.
        compute: outcomes of distinct texts, in their order.
    """
    new = sorted(set(texts) - held.keys())
    if new:
        held.update(zip(new, compute(new), strict=True))
    return [held[text] for text in texts]


def damaged(path: Path, error: Exception) -> DataError:
    """The error to raise for a file that cannot be read."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(f"{path}: cannot be read ({reason[:200]}); the file is damaged or of another kind, get it again")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and notes of transformers; what they would say is checked and raised here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
