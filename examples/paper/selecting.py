"""Arm E: an adapter for each domain, and a linear selector that chooses one for each window."""

import torch
from torch import nn

from gem.modeling import GemOutput
from models import merged


def lengths_of(real):
    return real.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def summary(model, ids, real):
    """[B, d]: the mean over a window's tokens of what the head reads."""
    hidden, _ = model.model(ids)
    return (hidden * real[..., None]).sum(1) / lengths_of(real)


class Selecting(nn.Module):
    """The base, what its adapters make of it, and means and covariance of the base's summaries by domain."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.tuned = nn.ModuleList()
        self.serving = []  # of each known domain: which of `tuned`, or -1 for the base
        self.means, self.scatter, self.count = [], 0.0, 0
        self.adapters = []  # weights of each

    def learn(self, batches, serving):
        """Stores the statistics of one domain; `serving` as in the list."""
        rows = torch.cat([summary(self.base, ids, whole(predicted)) for ids, predicted in batches]).double()
        self.means.append(rows.mean(0))
        self.scatter = self.scatter + (rows - rows.mean(0)).T @ (rows - rows.mean(0))
        self.count += len(rows) - 1
        self.serving.append(serving)

    def statistics(self):
        """Numbers that the selector keeps."""
        return sum(m.numel() for m in self.means) + self.scatter.numel()

    def add(self, adapted, weights, batches):
        """A domain with its adapter, of so many weights."""
        self.tuned.append(merged(adapted))
        self.adapters.append(weights)
        self.learn(batches, len(self.tuned) - 1)

    @torch.no_grad()
    def choose(self, ids, real):
        """[B]: index of the model that serves each window; linear discriminant analysis with equal priors."""
        means = torch.stack(self.means)
        covariance = self.scatter / max(1, self.count) + 1e-4 * torch.eye(means.shape[1])
        weights = torch.linalg.solve(covariance, means.T)
        scores = summary(self.base, ids, real).double() @ weights - 0.5 * (means * weights.T).sum(1)
        return torch.tensor(self.serving)[scores.argmax(1)]

    @torch.no_grad()
    def answer(self, ids, chosen):
        """Logits of every window by the model chosen for it."""
        logits = torch.empty(*ids.shape, self.base.config.vocab_size)
        for which in chosen.unique().tolist():
            model = self.base if which < 0 else self.tuned[which]
            logits[chosen == which] = model(ids[chosen == which]).logits
        return logits

    def forward(self, ids, real=None):
        real = torch.ones_like(ids, dtype=torch.bool) if real is None else real
        return GemOutput(self.answer(ids, self.choose(ids, real)), {}, None)


def whole(predicted):
    """[B, T] from [B, T - 1]: the first token is always there."""
    return torch.cat([torch.ones(len(predicted), 1, dtype=torch.bool), predicted], 1)
