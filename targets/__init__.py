"""Machines and energy profiles: `.hqt` files, and the language that they are written in."""

from hqc.targets.energy import Energy, EnergyProfile, load_profile, profile_names
from hqc.targets.loader import Cache, Target, load_target, target_names

__all__ = [
    "Cache",
    "Energy",
    "EnergyProfile",
    "Target",
    "load_profile",
    "load_target",
    "profile_names",
    "target_names",
]
