"""``sightline doctor --model``: what a checkpoint is and needs, before its weights are loaded."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.blip.inspection import Inspection
    from sightline.settings import Settings

_GIB = 1 << 30


def report(settings: Settings, model: str, revision: str | None, *, as_json: bool) -> bool:
    """Print what there is to say; gives whether the model would load."""
    from sightline.blip.inspection import inspect
    from sightline.cli.output import print_json
    from sightline.console import answers

    chosen = settings.model
    found = inspect(model, revision=revision, cache_dir=chosen.cache_dir, device=chosen.device)
    if as_json:
        told: dict[str, Any] = {"loads": found.loads, **asdict(found)}
        print_json(told)
    else:
        for name, line in _lines(found):
            _print(answers(), name, line)
    return found.loads


def _print(console: Console, name: str, line: str) -> None:
    console.print(f"[bold]{name:>14}[/]  ", end="")
    console.print(line, markup=False, soft_wrap=True)


def _lines(found: Inspection) -> list[tuple[str, str]]:
    count, width = found.patch_shape
    lines = [
        ("model", f"{found.model}: {found.architecture} ({found.model_type})"),
        ("folder", found.folder),
        ("does", ", ".join(found.roles)),
        ("pictures", f"{found.image_size} px, {count} patches of width {width}"),
    ]
    if found.joint_dim is not None:
        lines.append(("tokens", f"{found.num_query_tokens} an image, of {found.joint_dim} numbers"))
    if found.language_model is not None:
        lines.append(("language model", found.language_model))
    return [*lines, *_files(found), *_needs(found), *_verdict(found)]


def _files(found: Inspection) -> list[tuple[str, str]]:
    lines = [(file.name, _size(file.bytes) + ("" if file.here else ", not here yet")) for file in found.files]
    named = [("file", f"{name}  {said}") for name, said in lines]
    return [*named, ("stored as", ", ".join(found.stored_types))] if found.stored_types else named


def _needs(found: Inspection) -> list[tuple[str, str]]:
    lines = [
        (
            part.name,
            f"{part.parameters / 1e6:,.1f} million numbers: {_size(part.float32_bytes)} in float32, "
            f"{_size(part.bfloat16_bytes)} in bfloat16; loaded in {part.loaded_dtype}",
        )
        for part in found.parts
    ]
    free = "unknown" if found.memory_free is None else _size(found.memory_free)
    lines.append(("memory", f"needs {_size(found.memory_needed)} on {found.device}, {free} free"))
    lines.append(("disk", f"needs {_size(found.download_bytes)} more, {_size(found.disk_free)} free"))
    return lines


def _verdict(found: Inspection) -> list[tuple[str, str]]:
    problems = [("problem", sentence) for sentence in found.problems]
    if found.memory_free is not None and found.memory_needed > found.memory_free:
        problems.append(("note", "It needs more memory than is free now."))
    if found.download_bytes > found.disk_free:
        problems.append(("note", "It needs more disk than is free now."))
    return problems or [("verdict", "loads: every tensor that it needs is there")]


def _size(count: int) -> str:
    return f"{count / _GIB:.2f} GiB" if count >= _GIB // 10 else f"{count / (1 << 20):.2f} MiB"
