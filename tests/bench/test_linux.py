"""Which target is chosen for which machine."""

from __future__ import annotations

import pytest

from hqc.bench.on.linux import Processor, check_fits, fitting_target
from hqc.errors import UserError
from hqc.targets import load_target


def arm(*parts, features="fp asimd"):
    return "\n\n".join(
        f"processor\t: {n}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}"
        for n, part in enumerate(parts)
    )


PHONE = arm("0xd05", "0xd05", "0xd41", "0xd44")
RISCV = "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc{}_zicsr_zba\n"


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "cpu", "target"),
    [
        ("aarch64", arm("0xd03"), None, "arm-a53"),
        ("aarch64", arm("0xd0b", "0xd0b"), None, "arm-a76"),
        ("aarch64", PHONE, None, "arm-x1"),
        ("aarch64", PHONE, 0, "arm-a55"),
        ("aarch64", PHONE, 2, "arm-a78"),
        ("aarch64", arm("0xd09"), None, "armv8-a"),
        ("armv7l", arm("0xc07", features="vfpv4 neon"), None, "armv7-a7"),
        ("armv7l", arm("0xd08", features="vfpv4 neon"), None, "armv7-a7"),
        ("armv8l", arm("0xd03", features="neon"), None, "armv7-a7"),
        ("riscv64", RISCV.format(""), None, "rv64gc"),
        ("riscv64", RISCV.format("v"), None, "rv64gcv"),
    ],
)
def test_the_target_fits_the_core(architecture, cpuinfo, cpu, target):
    assert fitting_target(Processor(architecture, cpuinfo), cpu) == target


@pytest.mark.parametrize(
    ("architecture", "cpuinfo", "message"),
    [
        ("armv7l", arm("0xc07", features="vfpv4"), "armv7-a7 uses NEON, which the machine does"),
        ("armv6l", arm("0xb76", features="vfp"), "no target of hqc fits a machine of armv6l"),
    ],
)
def test_machines_that_no_target_fits(architecture, cpuinfo, message):
    with pytest.raises(UserError, match=message):
        fitting_target(Processor(architecture, cpuinfo))


def test_vectors_that_a_machine_does_not_have():
    with pytest.raises(UserError, match="rv64gcv uses vectors, which the machine does not have"):
        check_fits(load_target("rv64gcv"), Processor("riscv64", RISCV.format("")))
