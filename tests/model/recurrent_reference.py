#!/usr/bin/env python3
"""User vectors of tiny lru and gru encoders, computed from the text of model/model.h alone, in double precision and without
freshet's code.

    python3 tests/model/recurrent_reference.py > tests/model/recurrent_reference.h

Shape, parameters and inputs are those of attention_reference.py. The lru is computed without a recurrence, as the sum over all
earlier steps s of lambda^(t-s) gamma u[s]. With --onnx (the pip packages onnx and onnxruntime) the gru's cell is
onnxruntime's: the same to 1e-6.
"""
import cmath
import math
import sys

from attention_reference import D, F, GAPS, H, L, N, TYPES, gap_bucket, gelu, linear, norm, print_table, tensor

LENGTHS = (1, 4, 11)
KINDS = ("lru", "gru")


def lru(name, u):
    """u (T,2H) -> [Re h, Im h] (T,2H)."""
    nu, theta, gamma = (tensor(name + part, 1, H) for part in (".nu_log", ".theta_log", ".gamma_log"))
    out = []
    for t in range(len(u)):
        h = []
        for j in range(H):
            log_lambda = complex(-math.exp(nu[j]), math.exp(theta[j]))
            h.append(sum(cmath.exp((t - s) * log_lambda) * math.exp(gamma[j]) * complex(u[s][j], u[s][H + j])
                         for s in range(t + 1)))
        out.append([v.real for v in h] + [v.imag for v in h])
    return out


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def gru(name, u):
    """u (T,3H) -> h (T,H)."""
    h, out = [0.0] * H, []
    for step in u:
        s = linear(h, name + ".state", 3 * H)
        r = [sigmoid(step[j] + s[j]) for j in range(H)]
        z = [sigmoid(step[H + j] + s[H + j]) for j in range(H)]
        n = [math.tanh(step[2 * H + j] + r[j] * s[2 * H + j]) for j in range(H)]
        h = [(1 - z[j]) * n[j] + z[j] * h[j] for j in range(H)]
        out.append(h)
    return out


def gru_by_onnx(name, u):
    """The same by another implementation; its gates stand in the order z, r, n."""
    import numpy
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    def gates(rows):
        rows = numpy.array(rows, numpy.float32)
        return numpy.concatenate([rows[H:2 * H], rows[:H], rows[2 * H:]])[None]

    state = numpy.array(tensor(name + ".state.weight", H, 3 * H)).T
    bias = numpy.concatenate([gates(numpy.zeros(3 * H)), gates(tensor(name + ".state.bias", 1, 3 * H))], axis=1)
    weights = [onnx.numpy_helper.from_array(v, k) for k, v in
               (("W", gates(numpy.eye(3 * H))), ("R", gates(state)), ("B", bias))]
    node = helper.make_node("GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=H, linear_before_reset=1)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 1, 3 * H])],
                              [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": numpy.array(u, numpy.float32)[:, None]})[0][:, 0, 0].tolist()


def encode(T, kind):
    items, types = tensor("item.embedding", N, D), tensor("type.embedding", TYPES, D)
    gaps = tensor("gap.embedding", GAPS, D)
    x = []
    for t in range(T):
        v = [a + b + c for a, b, c in zip(items[5 * t % N], types[t % 4], gaps[gap_bucket(t)])]
        x.append(norm(v, "input.norm"))
    for block in range(L):
        name = "block.%d." % block
        mix, width = {"lru": (lru, 2 * H), "gru": (gru_by_onnx if "--onnx" in sys.argv else gru, 3 * H)}[kind]
        mixed = mix(name + kind, [linear(v, name + kind + ".in", width) for v in x])
        for t in range(T):
            y = linear(mixed[t], name + kind + ".out", D)
            z = norm([a + b for a, b in zip(y, x[t])], name + kind + ".norm")
            wide = [gelu(v) for v in linear(z, name + "ffn.in", F)]
            x[t] = norm([a + b for a, b in zip(linear(wide, name + "ffn.out", D), z)], name + "ffn.norm")
    return x[-1]


if __name__ == "__main__":
    print_table("Made by tests/model/recurrent_reference.py. [lru, gru][length][element]", LENGTHS, KINDS, encode)
