#!/usr/bin/env python3
"""User vectors of a tiny attention encoder, computed from the text of model/model.h alone, in double precision and without
freshet's code: each vector anew from the whole history, no state, no ring.

    python3 tests/model/attention_reference.py > tests/model/attention_reference.h

Parameter i of a tensor is 0.3 sin(0.7 s + 1.3 i), s the sum of the bytes of its name; 1 is added to norm weights. Item,
type and gap of step t are (5 t) % N, t % 4 and 700 * 3^t ms.
"""
import math

N, D, H, HEADS, L, F, TYPES, GAPS, WINDOW = 11, 32, 64, 2, 2, 48, 4, 6, 6
LENGTHS = (1, 4, 6, 7, 11)


def tensor(name, rows, cols):
    s = sum(name.encode())
    one = 1.0 if name.endswith("norm.weight") else 0.0
    flat = [one + 0.3 * math.sin(0.7 * s + 1.3 * i) for i in range(rows * cols)]
    return [flat[r * cols:(r + 1) * cols] for r in range(rows)] if rows > 1 else flat


def norm(v, name):
    mean = sum(v) / len(v)
    variance = sum((x - mean) ** 2 for x in v) / len(v)
    weight, bias = tensor(name + ".weight", 1, len(v)), tensor(name + ".bias", 1, len(v))
    return [(x - mean) / math.sqrt(variance + 1e-5) * w + b for x, w, b in zip(v, weight, bias)]


def linear(x, name, n_out):
    weight, bias = tensor(name + ".weight", len(x), n_out), tensor(name + ".bias", 1, n_out)
    return [bias[j] + sum(x[k] * weight[k][j] for k in range(len(x))) for j in range(n_out)]


def gelu(v):
    return 0.5 * v * (1 + math.erf(v / math.sqrt(2)))


def gap_bucket(t):
    seconds, bucket = 700 * 3 ** t // 1000, 0
    while seconds > 0 and bucket < GAPS - 1:
        seconds, bucket = seconds // 2, bucket + 1
    return bucket


def turned(v, position):
    """Rotary positions on one head, as complex numbers v[i] + i v[i + d/2]."""
    half = len(v) // 2
    pairs = []
    for i in range(half):
        angle = position * 10000.0 ** (-2.0 * i / len(v))
        pairs.append(complex(v[i], v[half + i]) * complex(math.cos(angle), math.sin(angle)))
    return [p.real for p in pairs] + [p.imag for p in pairs]


def attention(rows, rotary, first):
    """h of every row: each sees itself and the WINDOW - 1 rows before it. first: position of the first row."""
    d, out = H // HEADS, []
    for t in range(len(rows)):
        h = []
        for head in range(HEADS):
            def part(row, which):
                at = which * H + head * d
                v = rows[row][at:at + d]
                return turned(v, first + row) if rotary and which < 2 else v
            seen = range(max(0, t - WINDOW + 1), t + 1)
            score = [sum(a * b for a, b in zip(part(t, 0), part(s, 1))) / math.sqrt(d) for s in seen]
            weight = [math.exp(v) for v in score]
            for j in range(d):
                h.append(sum(w * part(s, 2)[j] for w, s in zip(weight, seen)) / sum(weight))
        out.append(h)
    return out


def encode(T, rotary):
    steps = list(range(T))
    while not rotary and len(steps) > WINDOW:
        # The first WINDOW are full when the next one comes: half of them are left, then it goes on.
        steps = steps[WINDOW - WINDOW // 2:]
    items, types = tensor("item.embedding", N, D), tensor("type.embedding", TYPES, D)
    gaps, positions = tensor("gap.embedding", GAPS, D), tensor("position.embedding", WINDOW, D)
    x = []
    for place, t in enumerate(steps):
        v = [a + b + c for a, b, c in zip(items[5 * t % N], types[t % 4], gaps[gap_bucket(t)])]
        if not rotary:
            v = [a + b for a, b in zip(v, positions[place])]
        x.append(norm(v, "input.norm"))
    for block in range(L):
        name = "block.%d." % block
        mixed = attention([linear(v, name + "attention.in", 3 * H) for v in x], rotary, 1000)
        for t in range(len(x)):
            y = linear(mixed[t], name + "attention.out", D)
            z = norm([a + b for a, b in zip(y, x[t])], name + "attention.norm")
            wide = [gelu(v) for v in linear(z, name + "ffn.in", F)]
            x[t] = norm([a + b for a, b in zip(linear(wide, name + "ffn.out", D), z)], name + "ffn.norm")
    return x[-1]


def print_table(first, lengths, kinds, encode_kind):
    """A header of the vectors that encode_kind(length, kind) gives; first: its comment."""
    print("/* %s */" % first)
    print("enum { LENGTHS = %d };" % len(lengths))
    print("static const int reference_lengths[LENGTHS] = {%s};" % ", ".join(map(str, lengths)))
    print("static const double reference_vectors[%d][LENGTHS][%d] = {" % (len(kinds), D))
    for kind in kinds:
        print("    {")
        for T in lengths:
            values = ["%.9f" % v for v in encode_kind(T, kind)]
            print("        {%s}," % ",\n         ".join(", ".join(values[i:i + 8]) for i in range(0, D, 8)))
        print("    },")
    print("};")


if __name__ == "__main__":
    print_table("Made by tests/model/attention_reference.py. [rotary][length][element]", LENGTHS, (False, True), encode)
