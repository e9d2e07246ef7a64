"""hqc report in a headless browser: every chart is drawn, nothing is loaded, nothing complains."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from hqc.bench.on import Result
from hqc.bench.saved import save
from hqc.report import write_report
from hqc.report.chart import charts
from hqc.targets import load_profile
from tests.conftest import NMNIST, ROOT

SAMPLE = NMNIST / "sample" / "3"
PICTURES = ROOT / "build-report"
TABLES = {"Network and choices", "Layers"}

METRICS = [
    {
        "stage": "search",
        "epoch": epoch,
        "choice_loss": 2.0 - epoch,
        "probabilities": {"head": {"8u": 1.0}, "q": {"2u": 0.1 * epoch, "4l": 1 - 0.1 * epoch}},
    }
    for epoch in range(3)
]

PROBE = """
<script>
window.addEventListener("error", e => document.body.dataset.error = e.message);
window.addEventListener("load", () => setTimeout(() => {
  const page = document.documentElement;
  document.body.dataset.overflow = page.scrollWidth - page.clientWidth;
  let cut = 0, labels = 0;
  for (const chart of document.querySelectorAll(".js-plotly-plot"))
    for (const label of chart.querySelectorAll("text.bartext")) {
      const axis = chart._fullLayout[label.closest(".x2y2") ? "xaxis2" : "xaxis"];
      const end = chart.getBoundingClientRect().left + axis._offset + axis._length;
      labels++;
      cut += label.getBoundingClientRect().right > end + 1;
    }
  document.body.dataset.labels = labels;
  document.body.dataset.cut = cut;
}, 2000));
</script>
</body>
"""


@pytest.fixture(scope="module")
def page(host_artifact, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    search = file.parent / "run"
    search.mkdir()
    (search / "metrics.jsonl").write_text("".join(f"{json.dumps(m)}\n" for m in METRICS))
    profile = load_profile("horowitz-45nm")
    write_report(host_artifact, profile, file, data=SAMPLE, search=search)
    return file


# 500 pixels is the narrowest window that Chromium opens.
def browse(file, width, *arguments):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "tests/install_tools.sh installs chromium"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    return subprocess.run(
        [
            *command,
            f"--window-size={width},4600",
            "--virtual-time-budget=20000",
            "--enable-logging=stderr",
            *arguments,
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


@pytest.mark.parametrize("width", [1100, 520, 500])
def test_every_chart_is_drawn_and_fits(page, width, tmp_path):
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>\n", PROBE))
    done = browse(probed, width, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert "data-error" not in done.stdout
    sections = re.split(r'(?=<section id="chart-)', done.stdout)[1:]
    assert len(sections) == len(charts())
    for section, chart in zip(sections, charts(), strict=True):
        assert chart.title in section
        drawn = section.count('<svg class="main-svg"')
        assert drawn if chart.title not in TABLES else "<svg" in section or "<table>" in section
    assert 'data-overflow="0"' in done.stdout
    assert 'data-cut="0"' in done.stdout
    assert int(re.search('data-labels="([0-9]+)"', done.stdout)[1]) > 40


@pytest.mark.parametrize(("width", "name"), [(1100, "report.png"), (500, "report-phone.png")])
def test_pictures_are_kept_to_be_looked_at(page, width, name):
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / name).unlink(missing_ok=True)
    browse(page, width, f"--screenshot={PICTURES / name}")
    assert (PICTURES / name).stat().st_size > 50_000


def test_the_page_stands_alone(page):
    text = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)
    assert not re.search(r"<link|<img|<iframe|src=|@import|url\(", text)


def test_it_shows_the_choices_and_the_figures(page):
    text = page.read_text()
    assert re.search(r"SpikeConv  [24][ul]<", text)
    for shown in ("same class as in float arithmetic", "Horowitz", "Left open"):
        assert shown in text
    assert text.count('<rect x="') == 20


def test_for_an_emulated_machine_instructions_stand_in_for_time(run_hqc, arm_artifact, tmp_path):
    done = run_hqc("report", arm_artifact.folder, "-o", "out.html", "--data", SAMPLE)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out.html").read_text()
    assert "instructions an inference" in text
    assert "an inference, one core" not in text


@pytest.fixture
def bench(host_artifact, tmp_path):
    """A benchmark of the same build, saved, with changes."""

    def saved(**changes):
        kernels = [{"name": k["name"], "ms": 0.5} for k in host_artifact.manifest["kernels"]]
        sha256 = host_artifact.manifest["source"]["sha256"]
        result = Result(
            model="nmnist", model_sha256=sha256, hqc="", target="host", place="ssh://pi",
            recordings=1, equal=1, device={"cpu": "Cortex-A72", "machine": "Pi"}, median_ms=12.34,
            kernels=kernels,
        )  # fmt: skip
        return save(replace(result, **changes), tmp_path / "bench.json")

    return saved


def test_a_benchmark_of_a_device_stands_beside_it(host_artifact, bench, run_hqc, tmp_path):
    done = run_hqc("report", host_artifact.folder, "--data", SAMPLE, "--bench", bench())
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    assert "<b>12.34 ms</b>an inference on Pi" in text
    assert "measured on Cortex-A72, ms" in text
    assert "measured here, ms" in text


def test_the_estimate_stands_beside_what_a_device_took(arm_artifact, bench, run_hqc, tmp_path):
    file = bench(target="arm-a72")
    done = run_hqc("report", arm_artifact.folder, "--data", SAMPLE, "--bench", file)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    assert "estimated, ms" in text
    assert "measured, million instructions" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "0"}, "is a benchmark of another build: its model is another"),
        ({"target": "arm-a72"}, "is a benchmark of another build: its target is another"),
        ({"kernels": []}, "is a benchmark of another build: its list of kernels is another"),
    ],
)
def test_benchmarks_of_other_builds(change, message, host_artifact, bench, run_hqc):
    done = run_hqc("report", host_artifact.folder, "--data", SAMPLE, "--bench", bench(**change))
    assert done.returncode == 2
    assert message in done.stderr


def test_a_benchmark_without_times(host_artifact, bench, run_hqc):
    counted = [{"name": k["name"], "instructions": 1} for k in host_artifact.manifest["kernels"]]
    done = run_hqc(
        "report", host_artifact.folder, "--data", SAMPLE, "--bench", bench(kernels=counted)
    )
    assert done.returncode == 2
    assert "holds no times of kernels" in done.stderr


def test_a_folder_that_is_no_search(run_hqc, host_artifact, tmp_path):
    done = run_hqc("report", host_artifact.folder, "--data", SAMPLE, "--search", tmp_path)
    assert done.returncode == 2
    assert "is not the folder of a search" in done.stderr


def test_a_folder_that_is_no_build(run_hqc, tmp_path):
    done = run_hqc("report", tmp_path, "-o", "out.html")
    assert done.returncode == 2
    assert "is not a compiled model" in done.stderr
    assert not (tmp_path / "out.html").exists()
