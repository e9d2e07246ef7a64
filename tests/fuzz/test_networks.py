"""Networks that nobody thought of: each is refused, or becomes what its floats say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import hypothesis
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hqc.compiler import lower
from hqc.dialect import attach_functions
from hqc.dialect.integer_lif import INTEGER_LIF
from hqc.dialect.lif import LIF
from hqc.errors import UnsupportedModelError
from tests.conftest import needs_compiler
from tests.fuzz import oracle
from tests.fuzz.networks import Network, networks
from tests.fuzz.oracle import check


def drawn(seed: int, count: int, take: Callable[[Network], None]) -> None:
    """Networks of a seed, each given to `take`, and shrunk where that fails.

    Hypothesis varies what it drew first, and draws other things where other modules are loaded.
    """

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def run(network: Network) -> None:
        take(network)

    run()


def verdicts(seeds: range, count: int, target: str | None = None) -> Counter[str]:
    """How many networks are right, and refused."""
    found: dict[bytes, str] = {}

    def take(network: Network) -> None:
        key = network.proto.SerializeToString(deterministic=True)
        if key not in found:
            found[key] = check(network, target).partition(":")[0]

    for seed in seeds:
        drawn(seed, count, take)
    return Counter(found.values())


def test_networks_are_right_or_refused():
    found = verdicts(range(5), 50)
    assert found["right"] > 2 * found["refused"] > 0


def test_everything_is_drawn():
    ops = (
        "Gemm MatMul BatchNormalization Add Sub Mul Div ReduceMean ReduceSum Transpose Pad Squeeze",
        "Slice Concat Expand Gather Split Clip Round Floor Abs LeakyRelu PRelu HardSigmoid Max Min",
        "Sum Mean Resize DepthToSpace SpaceToDepth ReduceMax ReduceMin ReduceL1 Tile ConvTranspose",
    )
    missing = {
        "LIF": set(LIF.defaults),
        "IntegerLIF": {"levels", *INTEGER_LIF.defaults},
        "QuantUniform": {"bits", "signed", "narrow", "axis"},
        "QuantPow2": {"bits", "axis"},
        "Conv": {"pads", "strides", "group", "kernel_shape"},
        "MaxPool": {"pads", "strides", "kernel_shape"},
        **{op: {""} for line in ops for op in line.split()},
    }

    def take(network: Network) -> None:
        for node in network.proto.graph.node:
            if node.op_type in missing:
                missing[node.op_type] -= {"", *(a.name for a in node.attribute)}

    for seed in range(100):
        drawn(seed, 25, take)
        missing = {op: attributes for op, attributes in missing.items() if attributes}
        if not missing:
            break
    assert not missing


@needs_compiler
def test_compiled_networks_are_right_or_refused():
    assert verdicts(range(1), 10, "host")["right"] > 3


@pytest.fixture
def network(tiny_model):
    return Network(ir.serde.serialize_model(attach_functions(ir.load(tiny_model))))


def test_a_right_network_is_called_right(network):
    assert check(network) == "right"


def spoiled(stage: str, op_type: str, index: int, by: int):
    """`lower`, with a number added to a parameter of the first such node of that stage."""

    def run(*arguments):
        stages = lower(*arguments)
        graph = getattr(stages, stage).graph
        value = next(n for n in graph if n.op_type == op_type).inputs[index]
        value.const_value = ir.tensor(value.const_value.numpy() + by)
        return stages

    return run


@pytest.mark.parametrize(
    ("stage", "op_type", "index", "by", "message"),
    [
        ("integer", "FixedPointLIF", 2, 2**24, r"integers: LIF\(BatchNormalization\(Conv\("),
        ("integer", "IntegerLinear", 2, 2**16, r"integers: Gemm\("),
        ("kernels", "IntegerLinear", 2, 1, "kernels: . recordings differ"),
    ],
)
def test_wrong_code_is_found(network, monkeypatch, stage, op_type, index, by, message):
    monkeypatch.setattr(oracle, "lower", spoiled(stage, op_type, index, by))
    with pytest.raises(AssertionError, match=message) as raised:
        check(network)
    path = raised.value.__notes__[0].removeprefix("the network: ")
    assert onnx.load(path).graph.node == network.proto.graph.node


def test_an_error_that_is_no_refusal_is_found(network, monkeypatch):
    monkeypatch.setattr(oracle, "lower", lambda *arguments: {}["wide"])
    with pytest.raises(AssertionError, match=r"KeyError at test_networks\.py:\d+: 'wide'"):
        check(network)


@pytest.mark.parametrize(("op_type", "is_own"), [("Conv", True), ("ConvInteger", False)])
def test_refusals_must_speak_of_ops_of_the_model(network, monkeypatch, op_type, is_own):
    def refuse(*arguments):
        raise UnsupportedModelError(f"node 'conv' ({op_type}): too large")

    monkeypatch.setattr(oracle, "lower", refuse)
    if is_own:
        assert check(network) == "refused: node 'conv' (Conv): too large"
    else:
        with pytest.raises(AssertionError, match="an op that the model does not have"):
            check(network)
