"""hqc run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from hqc.classes import class_of
from hqc.cli.application import Output, cli, output_options, threads_option


@cli.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--summary", is_flag=True, help="Print the accuracy alone, not every recording.")
@threads_option
@output_options
def run(
    out: Output, model: Path, recordings: tuple[Path, ...], summary: bool, threads: int | None
) -> None:
    """Run MODEL on RECORDINGS: .bin events, images, .npy or .npz frames, or folders.

    MODEL is a folder made by `hqc compile --target host`, or an ONNX file, which runs in
    onnxruntime. Recordings in folders named by class count towards an accuracy.

    \b
    Examples:
      hqc run build-host/ recording.bin
      hqc run model.onnx recordings/ --summary
    """
    from hqc.data.recordings import Recording, Recordings, preprocessing_of
    from hqc.threads import in_threads

    if model.suffix == ".onnx":
        from hqc.frontend.load import load_model
        from hqc.reference import ReferenceSession

        loaded = load_model(model)
        session, name = ReferenceSession(loaded), loaded.graph.inputs[0].name
        shape = loaded.graph.inputs[0].shape.numpy()
        classes = loaded.graph.outputs[0].shape.numpy()[-1]
        preprocessing = preprocessing_of(loaded.metadata_props)

        def infer(frames):
            return session.run({name: frames})[0]
    else:
        from hqc.artifact import Artifact

        artifact = Artifact.open(model)
        infer, shape = artifact.run, artifact.manifest["input"]["shape"]
        classes = artifact.manifest["output"]["shape"][-1]
        preprocessing = artifact.manifest["preprocessing"]

    def result_of(recording: Recording) -> dict:
        logits = infer(recording.frames).reshape(-1)
        return {
            "recording": recording.name,
            "class": class_of(logits, classes),
            "label": recording.label,
            "logits": [round(float(x), 6) for x in logits],
        }

    found = [Recordings(path, shape, preprocessing) for path in recordings]

    def read() -> Iterator[Recording]:
        for recording in chain.from_iterable(found):
            out.progress(recording.name)
            yield recording

    results = in_threads(result_of, read(), threads)
    labelled = [r for r in results if r["label"] is not None]
    right = sum(r["class"] == r["label"] for r in labelled)
    lines = [] if summary else [f"{r['recording']}: {r['class']}" for r in results]
    if labelled and (summary or len(results) > 1):
        lines.append(f"{model}: {right}/{len(labelled)} right, {right / len(labelled):.2%}")
    elif summary:
        lines.append(f"{model}: {len(results)} recordings without labels")
    accuracy = right / len(labelled) if labelled else None
    out.result({"results": results, "accuracy": accuracy}, "\n".join(lines))
