"""Loads one plug-in the way a host would and says what it is; a program of its own: `python checks.py FORMAT FILE`."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


class _Entry(ctypes.Structure):
    """`clap_plugin_entry` of clap/entry.h."""

    _fields_ = (
        ("version", ctypes.c_uint32 * 3),
        ("init", ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_char_p)),
        ("deinit", ctypes.CFUNCTYPE(None)),
        ("get_factory", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)),
    )


class _Descriptor(ctypes.Structure):
    """The beginning of `clap_plugin_descriptor` of clap/plugin.h."""

    _fields_ = (("version", ctypes.c_uint32 * 3), ("id", ctypes.c_char_p), ("name", ctypes.c_char_p))


class _Factory(ctypes.Structure):
    """`clap_plugin_factory` of clap/factory/plugin-factory.h, as far as it is used."""

    _fields_ = (
        ("count", ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)),
        ("descriptor", ctypes.CFUNCTYPE(ctypes.POINTER(_Descriptor), ctypes.c_void_p, ctypes.c_uint32)),
    )


def clap(path: str) -> str:
    """The names of the plug-ins in a CLAP file; raises when it is none that a host could use."""
    entry = _Entry.in_dll(ctypes.CDLL(path), "clap_entry")
    if entry.version[0] < 1:
        raise ValueError(f"it is made for CLAP {entry.version[0]}.{entry.version[1]}, which no host loads")
    if not entry.init(path.encode()):
        raise ValueError("its init() refuses")
    place = entry.get_factory(b"clap.plugin-factory")
    if not place:
        raise ValueError("it has no plug-in factory")
    factory = ctypes.cast(place, ctypes.POINTER(_Factory)).contents
    names = []
    for number in range(factory.count(place)):
        descriptor = factory.descriptor(place, number)
        if not descriptor or not descriptor.contents.id or not descriptor.contents.name:
            raise ValueError(f"its descriptor {number} has no id or no name")
        names.append(descriptor.contents.name.decode(errors="replace"))
    if not names:
        raise ValueError("there is no plug-in in it")
    entry.deinit()
    return ", ".join(names)


def lv2(path: str) -> str:
    """The URIs of the plug-ins in an LV2 bundle, as lilv reads them, their binaries loaded."""
    with tempfile.TemporaryDirectory() as alone:
        # By itself: what lies beside it is looked at by itself as well.
        Path(alone, "it.lv2").symlink_to(path)
        return _lv2(path, alone)


def _lv2(path: str, alone: str) -> str:
    env = {"LV2_PATH": f"{alone}:/usr/lib/lv2", "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
    only = {**env, "LV2_PATH": alone}
    listed = subprocess.run(["lv2ls"], check=True, capture_output=True, text=True, env=only)  # noqa: S607
    uris = listed.stdout.split()
    if not uris:
        raise ValueError(f"lilv finds no plug-in in it: {listed.stderr[:300]}")
    for uri in uris:
        told = subprocess.run(["lv2info", uri], check=False, capture_output=True, text=True, env=env)  # noqa: S603, S607
        if told.returncode or "Name:" not in told.stdout:
            raise ValueError(f"lilv cannot read {uri}: {told.stderr[:300]}")
    for library in Path(path).glob("*.so"):
        loaded = ctypes.CDLL(str(library))
        if not any(hasattr(loaded, name) for name in ("lv2_descriptor", "lv2_lib_descriptor", "lv2ui_descriptor")):
            raise ValueError(f"{library.name} has no lv2_descriptor")
    return ", ".join(uris) + _vocabulary(Path(path))


def _vocabulary(bundle: Path) -> str:
    """What `sord_validate` thinks of the words in a bundle. It knows few of the extensions, so this decides nothing."""
    if not shutil.which("sord_validate"):
        return ""
    files = [*map(str, Path("/usr/lib/lv2").glob("*.lv2/*.ttl")), *map(str, bundle.glob("*.ttl"))]
    told = subprocess.run(["sord_validate", *files], check=False, capture_output=True, text=True)  # noqa: S603, S607
    counted = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Found ")]
    return f" (sord_validate: {counted[-1][:200]})" if counted else ""


def vst3(path: str) -> str:
    """The name of a VST3 that `pedalboard` has loaded and let process a second of sound, stereo or else mono."""
    import numpy
    import pedalboard

    names = getattr(pedalboard.VST3Plugin, "get_plugin_names_for_file")(path)  # noqa: B009 - it comes without types
    made = getattr(pedalboard, "load_plugin")(  # noqa: B009 - likewise
        path, plugin_name=names[0] if len(names) > 1 else None
    )
    if made.is_instrument:
        return f"{', '.join(names)} (instrument)"
    problem: Exception | None = None
    for channels in (2, 1):
        try:
            sound = made.process(numpy.full((channels, 44100), 0.1, numpy.float32), 44100)
        except ValueError as refused:
            problem = refused
            continue
        if not numpy.isfinite(sound).all():
            raise ValueError("it makes numbers of silence that are none")
        return ", ".join(names)
    raise ValueError(str(problem))


if __name__ == "__main__":
    kind, place = sys.argv[1:3]
    try:
        print({"clap": clap, "lv2": lv2, "vst3": vst3}[kind](place))
    except Exception as reason:  # noqa: BLE001 - whatever goes wrong is the finding
        sys.exit(f"{type(reason).__name__}: {reason}")
