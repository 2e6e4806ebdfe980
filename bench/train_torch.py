#!/usr/bin/env python3
"""Positions learnt a second by PyTorch: the model, loss and optimiser of `freshet train`, to compare speeds with.

    python3 bench/train_torch.py ml-1m-lrurec.txt.gz [--steps 20] [--threads 2]

LRURec's shape (D 64, H 128, two blocks, F 256, full softmax, dropout 0.2, AdamW, clip 5) on "user item" lines: batches of 128
users, the newest 200 items of each, padded on the left as LRURec does; its recurrence by the same recursive doubling. The speed
counts real positions alone, not padding. By hand only: needs the pip package torch, which freshet does not.
"""
import argparse
import gzip
import math
import random
import time

import torch
from torch import nn
from torch.nn import functional


def sequences(path, length):
    users = {}
    items = {}
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt") as lines:
        for line in lines:
            user, item = line.split()
            users.setdefault(user, []).append(items.setdefault(item, len(items) + 1))
    # Leave-one-out with a validation: neither of the two newest is learnt from.
    return [s[:-2][-length - 1:] for s in users.values() if len(s) > 3], len(items)


class Block(nn.Module):
    def __init__(self, D, H, F, rate):
        super().__init__()
        radius = torch.sqrt(torch.rand(H) * (0.99**2 - 0.8**2) + 0.8**2)
        self.nu = nn.Parameter(torch.log(-torch.log(radius)))
        self.theta = nn.Parameter(torch.log(torch.rand(H) * 2 * math.pi))
        self.gamma = nn.Parameter(torch.log(torch.sqrt(1 - radius**2)))
        self.into = nn.Linear(D, H, dtype=torch.cfloat)
        self.out = nn.Linear(H, D, dtype=torch.cfloat)
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.wide, self.narrow = nn.Linear(D, F), nn.Linear(F, D)
        self.drop = nn.Dropout(rate)

    def forward(self, x, mask):
        h = self.into(x.to(torch.cfloat)) * torch.exp(self.gamma)
        radius = torch.exp(-torch.exp(self.nu))
        lam = torch.polar(radius, torch.exp(self.theta))
        B, T, H = h.shape
        for level in range((T - 1).bit_length()):
            half = 1 << level
            h = h.reshape(B * T // (2 * half), 2 * half, H)
            seen = mask.reshape(B * T // (2 * half), 2 * half)
            carry = h[:, half - 1:half] * seen[:, half - 1:half, None]
            powers = lam ** torch.arange(1, half + 1)[:, None]
            h = torch.cat([h[:, :half], h[:, half:] + powers * carry], 1)
        h = h.reshape(B, T, H)
        z = self.norm1(self.drop(self.out(h).real) + x)
        return self.norm2(self.drop(self.narrow(self.drop(functional.gelu(self.wide(z))))) + z)


class Model(nn.Module):
    def __init__(self, N, D=64, H=128, L=2, F=256, rate=0.2):
        super().__init__()
        self.items = nn.Embedding(N + 1, D)
        nn.init.trunc_normal_(self.items.weight, std=0.02, a=-0.04, b=0.04)
        self.bias = nn.Parameter(torch.zeros(N + 1))
        self.norm = nn.LayerNorm(D)
        self.drop = nn.Dropout(rate)
        self.blocks = nn.ModuleList(Block(D, H, F, rate) for _ in range(L))

    def forward(self, x):
        mask = x > 0
        v = self.norm(self.drop(self.items(x)))
        for block in self.blocks:
            v = block(v, mask)
        return v[mask] @ self.items.weight.T + self.bias  # padding has no logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("log")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--length", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    random.seed(1)
    data, N = sequences(args.log, args.length)
    T = 1 << (args.length - 1).bit_length()  # LRURec pads to a power of two
    model = Model(N)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    seconds = cpu = positions = 0
    for step in range(args.steps + 2):
        rows = random.sample(data, args.batch)
        x, y = torch.zeros(2, args.batch, T, dtype=torch.long)
        for b, s in enumerate(rows):
            x[b, T - len(s) + 1:] = torch.tensor(s[:-1])
            y[b, T - len(s) + 1:] = torch.tensor(s[1:])
        begin, cpu_begin = time.perf_counter(), time.process_time()
        loss = functional.cross_entropy(model(x), y[x > 0])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        if step >= 2:  # the first two warm up
            seconds += time.perf_counter() - begin
            cpu += time.process_time() - cpu_begin
            positions += int((x > 0).sum())
    print(f"torch {torch.__version__}, {args.threads} threads: {positions / seconds:.0f} positions/s, "
          f"{cpu / positions * 1e6:.1f} us of CPU each, loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
