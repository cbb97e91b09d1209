"""The same step as step_time.py's, written plainly in PyTorch, to compare with.

    pip install -r tests/benchmarks/requirements-torch.txt
    python tests/benchmarks/pytorch_step.py 188 250 128 3

takes a height, a width, the channels and the number of steps to time. PyTorch is no
requirement of the project: give it an environment of its own.
"""

import statistics
import sys
import time

import torch
from torch import nn


def network(channels: int, outputs: int) -> nn.Sequential:
    """Five valid convolutions with batch norm, as in the recipe."""
    layers, inputs = [], 3
    for _ in range(4):
        layers += [nn.Conv2d(inputs, channels, 3), nn.BatchNorm2d(channels)]
        layers += [nn.LeakyReLU(0.2)]
        inputs = channels
    return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 3))


def main(height: int, width: int, channels: int, count: int):
    """Prints milliseconds: median (minimum to maximum)."""
    generator, critic = network(channels, 3), network(channels, 1)
    optimizers = [
        torch.optim.Adam(player.parameters(), 5e-4, (0.5, 0.999))
        for player in (generator, critic)
    ]
    real = torch.rand(1, 3, height, width) * 2 - 1
    previous = torch.zeros(1, 3, height + 10, width + 10)

    def draw():
        noise = torch.randn(1, 1, height, width)
        return nn.functional.pad(noise, [5] * 4) + previous

    def generate(noisy):
        return torch.tanh(generator(noisy)) + previous[:, :, 5:-5, 5:-5]

    def step():
        noisy, star = draw(), draw()
        for _ in range(3):
            fake = generate(noisy).detach()
            mixing = torch.rand(1)
            mixed = (mixing * real + (1 - mixing) * fake).requires_grad_(True)
            (gradient,) = torch.autograd.grad(
                critic(mixed).sum(), mixed, create_graph=True
            )
            penalty = ((gradient.norm(2, 1) - 1) ** 2).mean()
            optimizers[1].zero_grad()
            loss = critic(fake).mean() - critic(real).mean() + 0.1 * penalty
            loss.backward()
            optimizers[1].step()
        for _ in range(3):
            optimizers[0].zero_grad()
            error = ((generate(star) - real) ** 2).mean()
            (10 * error - critic(generate(noisy)).mean()).backward()
            optimizers[0].step()

    step(), step()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append(1e3 * (time.perf_counter() - start))
    print(
        f"{height}x{width}, {channels} channels: {statistics.median(seconds):.0f} ms "
        f"({min(seconds):.0f} to {max(seconds):.0f})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
