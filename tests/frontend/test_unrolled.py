"""Neurons written out over time in standard ONNX, in the forms that frameworks leave them in."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import hqc
from hqc.dialect import DIALECT
from hqc.errors import UserError
from hqc.frontend.input_quantizer import quantize_input
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from tests.networks import Network

T, C, D, H, W = 5, 2, 6, 5, 7
LEVELS = np.linspace(0.5, 1.5, D).reshape(1, D, 1, 1)


class Unrolled(Network):
    """Frames -> convolution -> neurons -> rates -> classes, a copy of each for every step.

    `step(o, x, v)` gives spikes and what is kept, by calls of `o(op_type, operands)`. With
    `at_once` the convolution has all steps.
    """

    def __init__(self, step, rest=0.0, at_once=False):
        super().__init__((T, 1, C, H, W))
        rng = np.random.default_rng(3)
        self.weights = self.constant(rng.normal(size=(D, C, 3, 3)) * 0.6)
        self.bias = self.constant(rng.normal(size=D) * 0.2)
        whole = self.conv(self.view("frames", (T, C, H, W))) if at_once else ""
        v = self.constant(np.full((1, D, H, W), rest))
        spikes = []
        for t in range(T):
            x = self.slice(whole, t) if at_once else self.conv(self.take("frames", t))
            s, v = step(self, x, v)
            spikes.append(self.op("Unsqueeze", s, self.constant([0], np.int64)))
        self.head(self.mean(self.op("Concat", *spikes, axis=0), [0, 3, 4]), D, bits=16)

    def __call__(self, op_type, *operands, **attributes):
        made = (x if isinstance(x, str) else self.constant(x) for x in operands)
        return self.op(op_type, *made, name=f"neurons/{op_type}_{len(self.nodes)}", **attributes)

    def take(self, x, t):
        return self.op("Gather", x, self.constant(t, np.int64), axis=0)

    def slice(self, x, t):
        return self.op("Slice", x, *(self.constant([i], np.int64) for i in (t, t + 1, 0)))

    def conv(self, x):
        return self.op("Conv", x, self.weights, self.bias, pads=[1, 1, 1, 1])

    def fires(self, h, threshold=1.0):
        return self.number(self("GreaterOrEqual", self("Sub", h, threshold), 0.0))

    def number(self, condition):
        return self("Cast", condition, to=1)

    def hard(self, h, s):
        return s, self("Mul", h, self("Sub", 1.0, s))

    def soft(self, h, s):
        return s, self("Sub", h, self("Mul", s, 1.0))


def decays(o, x, v):
    h = o("Add", v, o("Div", o("Sub", x, v), 2.0))
    return o.hard(h, o.fires(h))


def decays_by_a_factor(o, x, v):
    h = o("Add", o("Mul", 0.5, o("Sub", x, v)), v)
    return o.hard(h, o.fires(h))


def both_halved(o, x, v):
    h = o("Add", o("Mul", v, 0.5), o("Mul", x, 0.5))
    return o.soft(h, o.fires(h))


def kept(o, x, v, keep=0.75):
    return o("Add", o("Mul", v, keep), x)


def undecayed(o, x, v):
    h = kept(o, x, v)
    return o.soft(h, o.fires(h))


def lossless(o, x, v):
    h = o("Add", v, x)
    return o.hard(h, o.fires(h))


def greater(o, x, v):
    h = kept(o, x, v)
    return o.hard(h, o.number(o("Greater", h, 1.0)))


def less(o, x, v):
    h = kept(o, x, v)
    return o.hard(h, o.number(o("Less", 1.0, h)))


def where(o, x, v):
    h = kept(o, x, v)
    f = o("GreaterOrEqual", h, 1.0)
    return o("Where", f, 1.0, 0.0), o("Where", f, 0.0, h)


def negated(o, x, v):
    h = kept(o, x, v)
    below = o("Less", h, 1.0)
    return o.number(o("Not", below)), o("Mul", o.number(below), h)


def heaviside(at_0):
    def step(o, x, v):
        h = kept(o, x, v)
        g = o("Sub", h, 1.0)
        side = o("Where", o("Less", g, 0.0), 0.0, 1.0)
        return o.soft(h, o("Where", o("Equal", g, 0.0), at_0, side))

    return step


def sign(o, x, v):
    h = kept(o, x, v)
    return o.hard(h, o("Relu", o("Sign", o("Sub", h, 1.0))))


def reset_a_step_later(o, x, v):
    h = o("Sub", kept(o, x, v), o.number(o("Greater", v, 1.0)))
    return o.number(o("Greater", h, 1.0)), h


def computed_constant(o, x, v):
    h = kept(o, x, v, o("Sigmoid", np.log(3.0)))
    return o.soft(h, o.fires(h))


def a_threshold_a_channel(o, x, v):
    h = kept(o, x, v)
    s = o.number(o("GreaterOrEqual", h, LEVELS))
    return s, o("Sub", h, o("Mul", s, LEVELS))


def below_a_threshold_a_channel(o, x, v):
    h = kept(o, x, v)
    s = o.number(o("Less", LEVELS, h))
    return s, o("Sub", h, o("Mul", s, LEVELS))


FORMS = {
    decays: "2h1",
    decays_by_a_factor: "2h1",
    both_halved: "2s0",
    undecayed: "4s0",
    lossless: "infh0",
    greater: "4h0>",
    less: "4h0>",
    where: "4h0",
    negated: "4h0",
    heaviside(1.0): "4s0",
    heaviside(0.0): "4s0>",
    sign: "4h0>",
    reset_a_step_later: "4s0>",
    computed_constant: "4s0",
    a_threshold_a_channel: "4s0",
    below_a_threshold_a_channel: "4s0>",
}


def described(node):
    """E.g. "2h1>": tau 2, hard reset, decay_input, fires above the threshold."""
    given = {name: a.value for name, a in node.attributes.items()}
    tau = "inf" if np.isinf(given["tau"]) else f"{given['tau']:.0f}"
    above = ">" if given["v_threshold"] == np.nextafter(np.float32(1), np.float32(2)) else ""
    return f"{tau}{'s' if given['soft_reset'] else 'h'}{given['decay_input']}{above}"


def written(step, folder, **how):
    return Unrolled(step, **how).save(folder / "unrolled.onnx")


def neurons_of(model):
    return [n for n in model.graph if (n.domain, n.op_type) == (DIALECT, "LIF")]


def frames():
    return np.random.default_rng(7).uniform(0, 1.5, (T, 1, C, H, W)).astype(np.float32)


def logits_of(path):
    return onnxruntime.InferenceSession(path).run(None, {"frames": frames()})[0]


@pytest.mark.parametrize("at_once", [False, True], ids=["step by step", "at once"])
@pytest.mark.parametrize("step", FORMS, ids=lambda step: step.__name__)
def test_one_layer_of_neurons_is_found(step, at_once, tmp_path):
    path = written(step, tmp_path, at_once=at_once)
    model = load_model(path)
    (neurons,) = neurons_of(model)
    assert described(neurons) == FORMS[step]
    assert neurons.outputs[0].shape.numpy() == (T, 1, D, H, W)
    assert [n.op_type for n in model.graph].count("Conv") == 1
    assert not {n.op_type for n in model.graph} & {"Concat", "Gather", "Slice"}
    save_model(model, tmp_path / "raised.onnx")
    own = logits_of(path)
    np.testing.assert_allclose(logits_of(tmp_path / "raised.onnx"), own, atol=1e-5)
    assert np.ptp(own) > 0.1


@pytest.mark.parametrize("step", [decays, reset_a_step_later, a_threshold_a_channel])
def test_what_is_raised_compiles(step, tmp_path):
    model = load_model(written(step, tmp_path))
    quantize_input(model, [frames()], None)
    save_model(model, tmp_path / "model.onnx")
    assert hqc.verify(tmp_path / "model.onnx").ok


def test_views_and_copies_of_some_steps_are_seen_through(tmp_path):
    """Ops that give what they read, as exporters leave them where they do not optimize."""
    steps = iter(range(T))

    def step(o, x, v):
        match next(steps):
            case 1:
                x = o.op("Cast", o.op("Identity", x), to=1)
            case 2:
                x = o.view(o.view(x, (1, D * H * W)), (1, D, H, W))
        s, v = undecayed(o, x, v)
        s = o.op("Concat", o.op("Unsqueeze", s, o.constant([0], np.int64)), axis=0)
        return o.op("Cast", o.take(s, 0), to=1), v

    path = written(step, tmp_path)
    model = load_model(path)
    assert [n.op_type for n in model.graph].count("Conv") == len(neurons_of(model)) == 1
    assert not {n.op_type for n in model.graph} & {"Cast", "Concat", "Identity"}
    save_model(model, tmp_path / "raised.onnx")
    np.testing.assert_allclose(logits_of(tmp_path / "raised.onnx"), logits_of(path), atol=1e-5)


def test_two_layers_on_one_stream_are_told_apart(tmp_path):
    """At the first step both fire at once, and begin with the same number."""
    others = {}

    def step(o, x, v):
        h = o("Add", o("Mul", v, 0.25), o("Mul", x, 0.75))
        s, v = o.hard(h, o.fires(h, 0.75))
        h = o("Add", x, o("Mul", others[o], 0.5)) if o in others else x
        fired, others[o] = o.soft(h, o.fires(h))
        return o("Add", fired, s), v

    path = written(step, tmp_path)
    model = load_model(path)
    assert [described(n)[:2] for n in neurons_of(model)] == ["1h", "2s"]
    save_model(model, tmp_path / "raised.onnx")
    np.testing.assert_allclose(logits_of(tmp_path / "raised.onnx"), logits_of(path), atol=1e-5)


def test_biases_may_be_on_either_side(tmp_path):
    steps = iter(range(T))

    def step(o, x, v):
        bias = np.linspace(0, 0.5, D).reshape(1, D, 1, 1)
        odd = next(steps) % 2
        x = o("Add", *((x, bias) if odd else (bias, x)))
        return lossless(o, x if odd else o.view(x, (1, D, H, W)), v)

    path = written(step, tmp_path)
    model = load_model(path)
    assert described(*neurons_of(model)) == "infh0"
    save_model(model, tmp_path / "raised.onnx")
    np.testing.assert_allclose(logits_of(tmp_path / "raised.onnx"), logits_of(path), atol=1e-5)


def test_neurons_that_rest_elsewhere_are_counted_from_there(tmp_path):
    def step(o, x, v):
        h = o("Add", v, o("Div", o("Sub", x, o("Sub", v, 0.25)), 2.0))
        s = o.fires(h)
        return s, o("Add", o.hard(h, s)[1], o("Mul", s, 0.25))

    (neurons,) = neurons_of(load_model(written(step, tmp_path, rest=0.25)))
    found = [neurons.attributes[k].value for k in ("tau", "v_threshold", "v_reset")]
    assert found == [2.0, 0.75, 0.0]


def test_a_current_that_decays_is_a_sum_over_steps(tmp_path):
    """As in Norse's LIF, whose neurons keep two numbers."""
    currents = {}

    def step(o, x, v):
        past = currents.get(o, o.constant(np.zeros((1, D, H, W))))
        currents[o] = o("Add", o("Mul", past, 0.5), x)
        return undecayed(o, currents[o], v)

    path = written(step, tmp_path)
    model = load_model(path)
    assert len(neurons_of(model)) == 1
    past = next(n for n in model.graph if n.op_type == "MatMul").inputs[0].const_value.numpy()
    np.testing.assert_allclose(
        past, [[0.5 ** (t - s) * (s <= t) for s in range(T)] for t in range(T)]
    )


def grows(o, x, v):
    h = kept(o, x, v, 2.0)
    return o.hard(h, o.fires(h))


def inhibited(o, x, v):
    h = o("Sub", o("Mul", v, 0.5), x)
    return o.hard(h, o.fires(h))


def drifts(o, x, v):
    h = o("Add", o("Add", v, 0.125), x)
    return o.hard(h, o.fires(h))


def fires_at_rest(o, x, v):
    h = kept(o, x, v)
    return o.hard(h, o.fires(h, 0.0))


def loses_a_half(o, x, v):
    h = kept(o, x, v, 0.5)
    s = o.fires(h)
    return s, o("Mul", h, o("Sub", 1.0, o("Mul", s, 0.5)))


def kept_by_channel(o, x, v):
    h = kept(o, x, v, LEVELS / 2)
    return o.soft(h, o.fires(h))


def reset_by_channel(o, x, v):
    h = kept(o, x, v)
    s = o.fires(h)
    return s, o("Add", o.hard(h, s)[1], o("Mul", s, LEVELS / 4))


def not_reset_at_it(o, x, v):
    h = kept(o, x, v)
    s = o.fires(h)
    return s, o("Where", o("Greater", o("Sub", h, 1.0), 0.0), 0.0, h)


def two_thresholds(o, x, v):
    h = kept(o, x, v)
    low, high = o.fires(h, 0.5), o.fires(h)
    return o("Add", low, high), o.hard(h, high)[1]


def read_twice(o, x, v):
    h = o("Add", kept(o, x, v), o("Abs", x))
    return o.hard(h, o.fires(h))


def forgets_faster():
    keep = iter(np.linspace(0.9, 0.5, T))

    def step(o, x, v):
        h = kept(o, x, v, next(keep))
        return o.hard(h, o.fires(h))

    return step


def takes_more():
    gain = iter([0.5, *[0.25] * T])

    def step(o, x, v):
        h = o("Add", v, o("Mul", o("Sub", x, v), next(gain)))
        return o.hard(h, o.fires(h))

    return step


@pytest.mark.parametrize(
    ("step", "rest", "why"),
    [
        (grows, 0, "keep is 2, gain 1"),
        (inhibited, 0, "keep is 0.5, gain -1"),
        (decays, 0.5, "its potentials do not start where they rest"),
        (drifts, 0, "its potentials grow by themselves"),
        (fires_at_rest, 0, "its neurons fire without any input"),
        (loses_a_half, 0, "keep is 0.5, and 0.25 after a spike"),
        (kept_by_channel, 0, "its neurons have 6 numbers for keep"),
        (reset_by_channel, 0, "its neurons are reset to several levels"),
        (not_reset_at_it, 0, "what happens at the threshold is not what happens above or below"),
        (two_thresholds, 0, "its potential is compared with more than one threshold"),
        (read_twice, 0, "its neurons read 2 inputs besides what they keep"),
        (forgets_faster(), 0, "its keep differs from step to step"),
        (takes_more(), 0, "its first step does not take 0.25 of its input"),
    ],
    ids=lambda x: getattr(x, "__qualname__", ""),
)
def test_other_neurons_are_refused_by_their_node(step, rest, why, tmp_path):
    with pytest.raises(UserError) as caught:
        load_model(written(step, tmp_path, rest=rest))
    assert why in caught.value.message
    assert caught.value.message.startswith("node 'neurons/")
    assert "v = keep * v + gain * x" in caught.value.hint


def test_neurons_that_read_their_own_spikes_are_refused(tmp_path):
    def step(o, x, v):
        last = recurrent.setdefault(o, o.constant(np.zeros((1, D, H, W))))
        own = o.op("Conv", last, o.constant(np.ones((D, D, 1, 1)) / 9))
        s, v = decays(o, o("Add", x, own), v)
        recurrent[o] = s
        return s, v

    recurrent = {}
    with pytest.raises(UserError, match="its neurons read their own spikes of earlier steps"):
        load_model(written(step, tmp_path))


def test_a_scan_is_written_out(tmp_path):
    """A loop inside the model, which has a body of its own names."""
    body = onnx.parser.parse_graph(
        "step (float v, float x) => (float v_next, float s) {"
        "  one = Constant <value_float = 1.0> ()"
        "  h = Add(v, x)  f = GreaterOrEqual(h, one)  s = Cast <to = 1> (f)"
        "  n = Sub(one, s)  v_next = Mul(h, n) }"
    )
    for value in (*body.input, *body.output):
        value.type.CopyFrom(helper.make_tensor_type_proto(1, (1, D, H, W)))
    net = Unrolled(lossless, at_once=True)
    first = next(i for i, n in enumerate(net.nodes) if n.op_type == "Conv") + 1
    last = next(i for i, n in enumerate(net.nodes) if n.op_type == "ReduceMean")
    spikes, classes = net.nodes[last - 1].output[0], net.nodes[last:]
    all_steps = net.nodes[first - 1].output[0]
    del net.nodes[first:]
    view = net.view(all_steps, (T, 1, D, H, W))
    rest = net.constant(np.zeros((1, D, H, W)))
    scan = helper.make_node(
        "Scan", [rest, view], ["last", spikes], name="scan", body=body, num_scan_inputs=1
    )
    net.nodes += [scan, *classes]
    path = net.save(tmp_path / "scan.onnx")
    model = load_model(path)
    (neurons,) = neurons_of(model)
    assert described(neurons) == "infh0"
    unrolled = written(lossless, tmp_path)
    np.testing.assert_allclose(logits_of(path), logits_of(unrolled), atol=1e-6)
    save_model(model, tmp_path / "raised.onnx")
    np.testing.assert_allclose(logits_of(tmp_path / "raised.onnx"), logits_of(path), atol=1e-5)
