"""Finding, checking and declaring the compiled kernels."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


class Config(ctypes.Structure):
    """`cw_config` of kernels/kernels.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("vocab", "context", "rope_neox", "qk_norm")),
        *((name, ctypes.c_int32) for name in ("block_size", "block_count", "threads", "candidates")),
        ("rms_eps", ctypes.c_float),
    ]


class Batch(ctypes.Structure):
    """`cw_batch`: pointers to the arrays of a step, then their sizes."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("tokens", "positions", "past", "begins")),
        *((name, ctypes.c_void_p) for name in ("blocks", "block_begins", "sampled")),
        *((name, ctypes.c_int32) for name in ("n_tokens", "n_sequences", "n_sampled")),
    ]


class Outputs(ctypes.Structure):
    """`cw_outputs`: where the last step's results are."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("logits", "candidate_logits", "logsumexp", "candidate_ids")
    ]


REVISION = 2
"""Which kernels this code goes with; raised with every change of an interface or of a result's bits."""

_INT, _PTR, _SIZE = ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "cw_revision": (ctypes.c_int, []),
    "cw_missing_instructions": (ctypes.c_char_p, []),
    "cw_cache_record": (_SIZE, [_INT, _INT]),
    "cw_model_new": (_PTR, [ctypes.POINTER(Config)]),
    "cw_model_free": (None, [_PTR]),
    "cw_model_wide_from": (None, [_PTR, _INT]),
    "cw_wide_available": (ctypes.c_int, []),
    "cw_model_matrix": (ctypes.c_int, [_PTR, _INT, _INT, _INT, _INT, _INT, _INT]),
    "cw_model_pack": (None, [_PTR, _INT, _INT, _INT, _PTR, _INT, _INT, _INT, _INT, _INT]),
    "cw_model_bias": (None, [_PTR, _INT, _INT, _PTR, _INT, _INT]),
    "cw_model_vector": (ctypes.c_int, [_PTR, _INT, _INT, _PTR, ctypes.c_int64]),
    "cw_model_row": (None, [_PTR, _INT, _INT, _INT, _PTR]),
    "cw_model_step": (ctypes.c_int, [_PTR, ctypes.POINTER(Batch), ctypes.POINTER(Outputs)]),
    "cw_model_block_bytes": (_SIZE, [_PTR]),
    "cw_model_copy_block": (None, [_PTR, _INT, _INT]),
    "cw_model_export_block": (None, [_PTR, _INT, _PTR]),
    "cw_model_import_block": (None, [_PTR, _INT, _PTR]),
    "cw_floor_dot": (ctypes.c_double, [_INT]),
    "cw_floor_read": (ctypes.c_double, [_INT, _INT]),
}


def _path() -> Path | None:
    here = Path(__file__).parent
    return next((p for suffix in EXTENSION_SUFFIXES if (p := here / f"_kernels{suffix}").exists()), None)


@cache
def load() -> ctypes.CDLL:
    """The kernels, with argument types declared; calls release the GIL. Raises OSError where they were not built."""
    path = _path()
    if path is None:
        raise OSError("the native kernels were not built (no C compiler at installation?)")
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def available() -> str | None:
    """Why the native runner can't be used here, or None where it can."""
    try:
        library = load()
        if library.cw_revision() != REVISION:
            return "the native kernels were built from another version: install the package again"
        missing = library.cw_missing_instructions()
    except (OSError, AttributeError) as error:
        return str(error)
    return f"the processor lacks {missing.decode()}" if missing else None
