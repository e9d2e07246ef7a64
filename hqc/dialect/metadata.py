"""Keys of the metadata that models carry from stage to stage."""

LAYER = "hqc.layer"
"""Of a Conv, Gemm or MatMul of a dialect model, and of the codes of weights: the layer's name."""

STANDS_FOR = "hqc.stands_for"
"""Of a node in another notation: op type and attributes of the dialect's that it is, as JSON."""

WRITTEN = "hqc.written"
"""Of a node that a pass made in another's place: the op type that the user wrote."""

MADE_FOR = "hqc.made_for"
"""Of a node that a pass put before another: how messages name that one."""

RATE = "hqc.rate"
"""Of a packed value: set bits per channel, position, plane and time step."""

LISTED = "hqc.listed"
"""Of a packed value: the same of set bits or of the others, whichever are fewer in a row."""

TUNED = "hqc.tuned"
"""Of a layer of spikes: the kernel that tuning records choose for it."""

ARENA = "hqc.arena"
"""Of a value, a node and the model: offsets and sizes in the arena, as JSON.

Of a value: {"run": offset, "stream": offset}. Of a node: the same with one offset per Scratch and
State operand, and their sizes under "bytes". Of the model: {"run": bytes, "stream": bytes}.
"""

THREADS = "hqc.threads"
"""Of the model: how many threads its memory is planned for, where that is more than one."""

AREAS = "hqc.areas"
"""Of the model: for each plan the areas of the arena and their lifetimes, as JSON.

{"run": [{"name", "kind", "bytes", "offset", "first", "last"}, ...], "stream": ...}; `kind` is
activation, scratch or potential, `first` and `last` count kernels.
"""
