"""The class of a machine, from what /proc/cpuinfo says and what the environment leaves of it."""

from __future__ import annotations

import pytest

from benchmarks.machine import Processor, processor_of, warnings

OLD = "model name\t: Intel(R) Core(TM) i7-8550U\nflags\t\t: fpu sse4_2 avx avx2 fma bmi2\n"
ALDER = "model name\t: Intel(R) Core(TM) i5-1240P\nflags\t\t: fpu avx2 avx_vnni\n"
ICE = "model name\t: Intel(R) Xeon(R) Platinum 8370C\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ZEN4 = "model name\t: AMD EPYC 9654\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE = "flags\t\t: avx2 avx512f avx512_bf16 avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp bf16\n"
EMULATED = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


@pytest.mark.parametrize(
    ("cpuinfo", "limits", "kind", "goals"),
    [
        (OLD, {}, "2 cores, AVX2", "avx2"),
        (ALDER, {}, "2 cores, AVX2 with VNNI", "avx2"),
        (ICE, {}, "2 cores, AVX-512 with VNNI", "avx2"),
        (ZEN4, {}, "2 cores, AVX-512 with bf16 and VNNI", "avx512_bf16"),
        (SAPPHIRE, {}, "2 cores, AVX-512 with bf16, VNNI and AMX", "avx512_bf16"),
        (
            ZEN4,
            EMULATED,
            "2 cores, AVX2 (emulated on AMD EPYC 9654, AVX-512 with bf16 and VNNI)",
            "avx2",
        ),
        (ZEN4, {"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, "2 cores, AVX-512 with bf16 and VNNI",
            "avx512_bf16"),
        (OLD, {"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, "2 cores, AVX2", "avx2"),
        (OLD, EMULATED, "2 cores, AVX2", "avx2"),
    ],
)  # fmt: skip
def test_a_class_has_words_and_goals(cpuinfo: str, limits: dict[str, str], kind: str, goals: str) -> None:
    found = processor_of(cpuinfo, limits, cores=2)
    assert (found.kind, found.goals) == (kind, goals)


def test_a_processor_of_another_kind_says_what_it_lacks() -> None:
    found = processor_of(ARM, {}, cores=1)
    assert found.kind.startswith("1 core, ")
    assert found.kind.endswith("without AVX2")


def test_a_busy_machine_and_half_a_limit_are_said() -> None:
    free, limited = processor_of(ZEN4, {}, 2), processor_of(ZEN4, EMULATED, 2)
    assert warnings(free, {}, load=0.9) == []
    (busy,) = warnings(free, {}, load=3.0)
    assert busy.startswith("This machine is busy: the load is 3.0 on 2 cores")
    (half,) = warnings(limited, EMULATED, load=0.0)
    assert half.endswith("set FBGEMM_ENABLE_INSTRUCTIONS, MKL_ENABLE_INSTRUCTIONS as well.")
    whole = EMULATED | {"FBGEMM_ENABLE_INSTRUCTIONS": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    assert warnings(limited, whole, load=0.0) == []


def test_what_is_used_is_part_of_what_is_there() -> None:
    found = processor_of(SAPPHIRE, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, 4)
    assert isinstance(found, Processor)
    assert found.used == ("avx2", "avx512f", "avx512_vnni", "avx_vnni")
    assert set(found.used) < set(found.features)
