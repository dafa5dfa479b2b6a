"""A model and windows -> nats of every window, continuation choices, routing, and what is left with an older model's routing."""

import numpy as np
import torch
import torch.nn.functional as F

from gem.modeling import Routing
from selecting import Selecting, whole
from text import CHOICES, CONTEXT


def logits_of(model, ids, real):
    return (model(ids, real) if isinstance(model, Selecting) else model(ids)).logits


def nats_of_tokens(logits, ids):
    """[B, T - 1]"""
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")


@torch.no_grad()
def nats(model, windows):
    """[windows]: nats of the predicted tokens."""
    found = []
    for ids, predicted in windows.batches():
        each = nats_of_tokens(logits_of(model, ids, whole(predicted)), ids)
        found += (each * predicted).double().sum(1).tolist()
    return np.array(found)


@torch.no_grad()
def chosen(model, items):
    """[items]: which continuation is the most probable."""
    found = []
    for i in range(0, len(items), 8):
        part = items[i:i + 8]
        ids = torch.from_numpy(np.concatenate([item.ids for item in part]))
        if isinstance(model, Selecting):  # the context decides, not what is offered
            context = ids[:, :CONTEXT]
            logits = model.answer(ids, model.choose(context, torch.ones_like(context, dtype=torch.bool)))[:, CONTEXT - 1:]
        else:  # the head of what is scored alone
            hidden, _ = model.model(ids)
            logits = F.linear(hidden[:, CONTEXT - 1:], model.model.embed_tokens.weight)
        score = -nats_of_tokens(logits, ids[:, CONTEXT - 1:]).sum(1)
        found += score.view(len(part), CHOICES).argmax(1).tolist()
    return found


def right(items, found):
    """[items]: whether the continuation that belongs there was chosen."""
    return [item.answer == k for item, k in zip(items, found)]


def macro_f1(answers, found):
    scores = []
    for k in range(CHOICES):
        right = sum(a == k and f == k for a, f in zip(answers, found))
        seen = sum(a == k for a in answers) + sum(f == k for f in found)
        scores.append(2 * right / seen if seen else 0.0)
    return sum(scores) / CHOICES


@torch.no_grad()
def nats_and_routes(model, windows):
    """(as `nats`, [layers, tokens]: the module that each token fires, -1 for none) of a routed model."""
    found, routes = [], []
    for ids, predicted in windows.batches():
        out, real = model(ids), whole(predicted)
        found += (nats_of_tokens(out.logits, ids) * predicted).double().sum(1).tolist()
        routes.append(torch.stack([torch.where(r.flag, r.domain, -1)[real] for r in out.routing.values()]))
    return np.array(found), torch.cat(routes, 1).numpy().astype(np.int8)


class Forced:
    """Makes the routers of one model decide as those of an older one with fewer modules decided."""

    def __init__(self, model, older):
        self.model, self.older = model, older

    def records(self, ids):
        wide = {}
        for layer, r in self.older(ids).routing.items():
            more = len(self.model.config.domains) - r.p.shape[-1]
            pad = lambda t: F.pad(t, (0, more))
            none = torch.where(r.flag, r.domain, len(self.model.config.domains))
            wide[layer] = Routing(pad(r.logits), pad(r.p), pad(r.fired), pad(r.gates), r.flag, none, r.cluster, r.x)
        return wide

    @torch.no_grad()
    def nats(self, windows):
        """[windows], as `nats`."""
        found = []
        for ids, predicted in windows.batches():
            records = self.records(ids)
            hooks = [router.register_forward_hook(lambda _, __, ___, r=records[layer]: r) for layer, router in self.model.model.routers().items()]
            each = nats_of_tokens(self.model(ids).logits, ids)
            for hook in hooks:
                hook.remove()
            found += (each * predicted).double().sum(1).tolist()
        return np.array(found)
