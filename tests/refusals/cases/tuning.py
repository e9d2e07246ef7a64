"""Tuning records: hqc/tuning.py and hqc/tuning_records.py."""

from __future__ import annotations

from hqc.compiler import lower, pipeline_for
from hqc.frontend.load import load_model
from hqc.passes.spike_kernels import SPIKE_LAYERS
from hqc.targets import load_target
from hqc.tuning_records import TuningRecords, layer_key
from tests.refusals.case import Small, refused

RECORDS = "records.json"


def sound(net: Small) -> None:
    x = net.conv(net.spikes(channels=64), (64, 32), bits=2)
    net.end(net.lif(x, name="conv.lif"), channels=32)


def record(net: Small, kernel: str) -> None:
    """Records of the host that say a kernel for every layer of spikes."""
    steps = pipeline_for(load_target("host"))[:-2]
    packed = lower(load_model(net.save(net.path)), steps).kernels
    keys = [layer_key(n, threads=1) for n in packed.graph if n.op_type in SPIKE_LAYERS]
    TuningRecords(net.folder / RECORDS, load_target("host")).add({k: {kernel: 1} for k in keys})


@refused(
    "records.json holds no tuning records of hqc's",
    hint="remove it, or name another file: layers that it lacks are measured anew",
    options={"tune": RECORDS},
)
def records_that_a_merge_has_damaged(net):
    sound(net)
    record(net, "event")
    text = (net.folder / RECORDS).read_text()
    (net.folder / RECORDS).write_text(text.replace("[\n", "[\n<<<<<<< ours\n", 1))


@refused(
    "records.json: its records are of target arm-a72, not host",
    hint="remove it, or name another file: layers that it lacks are measured anew",
    options={"tune": RECORDS},
)
def records_of_another_target(net):
    sound(net)
    TuningRecords(net.folder / RECORDS, load_target("arm-a72")).add({})


@refused(
    "node 'conv.lif': tuning records choose 'fields' for it, which cannot compute it",
    hint="kernels that can are event, planes...",
    options={"tune": RECORDS},
)
def a_kernel_that_cannot_compute_its_layer(net):
    """Fields of 2 bits, of which outputs fill half a vector."""
    sound(net)
    record(net, "fields")


@refused(
    "--tune: there are no recordings to measure kernels on",
    hint="name some with --calibrate, or put them beside the model, in sample/",
    options={"tune": RECORDS},
)
def nothing_to_measure_on(net):
    sound(net)


@refused(
    "--tune: the passes, which are given, do not choose a kernel for each layer",
    hint="leave out --passes, or say choose-kernels, of no one kernel, after pack-spikes "
    "among them",
    passes="make-integer,pack-spikes,choose-kernels{kernel=event},plan-memory",
    options={"tune": RECORDS},
)
def passes_that_choose_one_kernel(net):
    sound(net)
