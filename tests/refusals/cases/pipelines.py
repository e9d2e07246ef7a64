"""Pipelines, and what a library is asked for: passes/pipeline.py, hqc/compiler.py, hqc/codegen."""

from __future__ import annotations

from tests.refusals.case import C, D, Small, refused


def sound(net: Small) -> None:
    net.frames = (1, 1, C, 1, 1)
    net.end(net.spikes())


@refused(
    "--passes: cannot read this at column 14\n  fold-padding,,make-integer\n               ^",
    hint='write e.g. "fold-batch-norm,make-integer{mode=exact},pack-spikes"',
    passes="fold-padding,,make-integer",
)
def a_pipeline_with_a_gap(net):
    sound(net)


@refused(
    "there is no pass 'make-integers'; did you mean 'make-integer'?",
    hint="passes are: ...make-integer, pack-spikes, plan-memory...",
    passes="make-integers",
)
def a_pass_that_there_is_not(net):
    sound(net)


@refused(
    "pass 'pack-spikes' has no option 'mode'",
    hint="its options are: none",
    passes="pack-spikes{mode=exact}",
)
def an_option_that_a_pass_lacks(net):
    sound(net)


@refused(
    "pass 'make-integer': option 'mode' is a word, not 1",
    passes="make-integer{mode=1}",
)
def an_option_of_another_type(net):
    sound(net)


@refused(
    "make-integer has no mode 'rounded'",
    hint="modes are: auto, exact, guarded",
    passes="make-integer{mode=rounded}",
)
def a_mode_that_there_is_not(net):
    sound(net)


@refused(
    "make-integer holds no potentials of 8 bits",
    hint="potential_bits is 16 or 32",
    passes="make-integer{potential_bits=8}",
)
def potentials_of_bits_that_there_are_not(net):
    sound(net)


@refused(
    "choose-kernels has no kernel 'tables'",
    hint="kernel is one of auto, event, fields, planes, dense",
    passes="choose-kernels{kernel=tables}",
)
def a_kernel_that_there_is_not(net):
    sound(net)


@refused(
    "choose-kernels has no listing 'bits'",
    hint="listing is one of table, mask, mask64, host",
    passes="choose-kernels{listing=bits}",
)
def a_listing_that_there_is_not(net):
    sound(net)


@refused(
    "choose-kernels has no dots 'z80'",
    hint="dots is one of none, aarch64, host",
    passes="choose-kernels{dots=z80}",
)
def dot_products_of_another_machine(net):
    sound(net)


@refused(
    "0 threads cannot share an inference",
    hint="memory is planned for 1 to 64 threads",
    passes="plan-memory{threads=0}",
)
def an_inference_of_no_thread(net):
    sound(net)


@refused(
    "the passes, which are given, do not plan memory for 2 threads",
    hint="say plan-memory{threads=2} among them, in place of --threads",
    passes="make-integer,pack-spikes,plan-memory",
    options={"threads": 2},
)
def threads_beside_passes(net):
    sound(net)


@refused(
    "a module for wasm32 has one thread",
    hint="leave out --threads",
    options={"target": "wasm32", "threads": 2},
)
def threads_in_a_browser(net):
    sound(net)


@refused(
    "--dump-after: the pipeline has no pass 'choose-kernels'",
    hint="it has: make-integer, pack-spikes, plan-memory; or say all",
    passes="make-integer,pack-spikes,plan-memory",
    options={"dump_after": "choose-kernels"},
)
def a_dump_after_a_pass_that_does_not_run(net):
    sound(net)


@refused(
    "--passes: the pipeline does not end in plan-memory: nothing to compile",
    hint="the whole pipeline is ...make-integer,...plan-memory",
    passes="make-integer",
    options={"name": "net"},
)
def a_pipeline_that_ends_too_early(net):
    sound(net)


@refused(
    "node 'stem': there is no kernel for ConvInteger",
    passes="make-integer,plan-memory",
)
def a_plan_for_what_are_no_kernels(net):
    sound(net)


@refused(
    "node 'stem.lif': its memory was planned for a target with other vectors",
    hint="give plan-memory the target's vector_bits, 0 for one without vectors",
    passes="make-integer,pack-spikes,choose-kernels,plan-memory{vector_bits=0}",
    options={"name": "net"},
)
def a_plan_for_a_target_without_vectors(net):
    """With vectors, potentials of 8 channels take the room of 32."""
    sound(net)


def wide_stem(net):
    """Spikes of a first layer whose codes are no bytes."""
    stem = net.conv(net.image(), (net.frames[2], D), bits=12, name="stem")
    return net.lif(stem, v_threshold=2.0, name="stem.lif")


@refused(
    "node 'outer/Rescale': its products are those of another machine than arm-a72",
    hint="give choose-kernels dots=none",
    passes="fold-constants,fold-padding,canonicalize,make-integer,pack-spikes,"
    "choose-kernels{dots=aarch64},plan-memory",
    options={"name": "net", "target": "arm-a72"},
)
def products_of_four_bytes_on_a_machine_without(net):
    x = net.conv(net.conv(wide_stem(net), name="inner"), name="outer")
    net.end(net.lif(x, v_threshold=1.0))


@refused(
    "node 'layer.lif': its products are those of another machine than arm-a72",
    hint="give choose-kernels dots=none",
    passes="fold-constants,fold-padding,canonicalize,make-integer,pack-spikes,"
    "choose-kernels{dots=aarch64,kernel=dense},plan-memory",
    options={"name": "net", "target": "arm-a72"},
)
def products_of_spikes_on_a_machine_without(net):
    net.end(net.lif(net.conv(wide_stem(net), name="layer"), name="layer.lif"))


@refused(
    "node 'stem.lif': its products are those of another machine than arm-a72",
    hint="give choose-kernels dots=none",
    passes="fold-constants,fold-padding,canonicalize,make-integer,pack-spikes,"
    "choose-kernels{dots=aarch64},plan-memory",
    options={"name": "net", "target": "arm-a72"},
)
def products_of_frames_on_a_machine_without(net):
    net.end(net.spikes())


@refused(
    "node 'layer.lif': its spikes are listed as on another machine than arm-a72",
    hint="give choose-kernels listing=table",
    passes="fold-constants,fold-padding,canonicalize,make-integer,pack-spikes,"
    "choose-kernels{listing=mask64},plan-memory",
    options={"name": "net", "target": "arm-a72"},
)
def spikes_that_are_listed_as_on_another_machine(net):
    net.end(net.lif(net.conv(wide_stem(net), name="layer"), name="layer.lif"))


@refused(
    "--name 'My-Net' is not a C identifier",
    hint="say e.g. --name my_net",
    options={"name": "My-Net"},
)
def a_name_that_is_none_in_c(net):
    sound(net)
