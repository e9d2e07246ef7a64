"""hqc bench."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from hqc.cli.application import Output, bind_option, cc_option, cli, output_options

_RECORDINGS = 10


@cli.command("bench")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--peers",
    default="onnxruntime-fp32,onnxruntime-int8",
    show_default=True,
    help="What to compare with, separated by commas.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings (default: the folder `sample` beside the model, else seeded random frames).",
)
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@bind_option
@cc_option
@output_options
def bench(
    out: Output,
    model: Path,
    peers: str,
    data: Path | None,
    rounds: int,
    bind: dict[str, int],
    cc: str | None,
) -> None:
    """Time MODEL compiled for this machine against other runtimes, one thread, in one run.

    \b
    Examples:
      hqc bench model.onnx
      hqc bench model.onnx --peers onnxruntime-int8 --json
    """
    import hqc
    from hqc.bench import bench as run_bench
    from hqc.bench.peer import Runner, find_peer
    from hqc.data.recordings import preprocessing_of, read_recordings, sample_beside
    from hqc.data.synthetic import sparse_frames
    from hqc.frontend.load import load_model

    builders = {name: find_peer(name) for name in filter(None, peers.split(","))}
    loaded = load_model(model, bind)
    shape = loaded.graph.inputs[0].shape.numpy()
    source = data or sample_beside(model)
    if source is None:
        frames = sparse_frames(shape, _RECORDINGS)
    else:
        preprocessing = preprocessing_of(loaded.metadata_props)
        frames = [r.frames for r in read_recordings(source, shape, preprocessing, _RECORDINGS)]
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as folder:
        artifact = hqc.compile(
            model,
            "host",
            Path(folder, "build"),
            bind=bind,
            cc=cc,
            calibrate=source,
            progress=out.progress,
        )
        runners: dict[str, Runner] = {"hqc": artifact.run}
        for name, build in builders.items():
            out.progress(f"prepare {name}")
            runners[name] = build(loaded, frames)
        out.progress("measure")
        timings = run_bench(runners, frames, rounds)
    width = max(map(len, timings))
    lines = [f"{'':{width}}  ms median  fastest  times hqc  same class"]
    lines += [
        f"{name:{width}}  {t.median_ms:9.2f}  {t.fastest_ms:7.2f}  {t.ratio:9.2f}  "
        f"{t.same_class:7}/{len(frames)}"
        for name, t in timings.items()
    ]
    out.result({name: asdict(t) for name, t in timings.items()}, "\n".join(lines))
