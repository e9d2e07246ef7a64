"""The example of a farm, on one computer that has two devices of three."""

from __future__ import annotations

import importlib.util

import pytest

from tests.conftest import ROOT

ray = pytest.importorskip("ray")


@pytest.fixture
def farm():
    path = ROOT / "examples" / "farm" / "farm.py"
    spec = importlib.util.spec_from_file_location("farm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ray.init(num_cpus=1, resources={"desk": 1, "off": 1}, include_dashboard=False)
    yield module.farm
    ray.shutdown()


def test_devices_run_where_they_hang(farm, tiny_model, tmp_path):
    file = tmp_path / "devices.toml"
    file.write_text(
        '[devices.desk]\non = "emulator"\ntarget = "arm-a72"\n'
        '[devices.off]\non = "ssh://pi@127.0.0.1:9"\n'
        '[devices.missing]\non = "host"\n'
    )
    missing, desk, off = farm(file, [tiny_model])
    assert desk.ok
    assert desk.result.target == "arm-a72"
    assert "Connection refused" in off.error
    assert "no computer" in missing.error
