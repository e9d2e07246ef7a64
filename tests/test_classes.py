"""Classes of one step's logits, and of several steps'."""

import numpy as np

from hqc.classes import class_of


def test_steps_are_summed():
    assert class_of(np.array([[0.1, 0.9, 0.2]]), 3) == 1
    assert class_of(np.array([[0.1, 0.9, 0.2], [0.9, 0.0, 0.2]]), 3) == 0
    assert class_of(np.array([0.1, 0.9, 0.2, 0.9, 0.0, 0.2]), 3) == 0
