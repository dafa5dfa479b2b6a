"""Debian descriptions -> gem-cls: bag of words, then a plain encoder (the teacher), then the GEM student.

    python examples/train/train_cls.py bag
    python examples/train/train_cls.py teacher --minutes 40
    python examples/train/train_cls.py student --minutes 35

Each stage starts from the one before, saves its state to the cache every few minutes and goes on from
there when started again. Schedules are fractions of the stage's budget: wall-clock minutes, or
`--steps` for a run that can be repeated exactly. See docs/results/gem-cls.md for what came out.
"""

import argparse
import copy
import time

import torch
import torch.nn.functional as F
from cls_data import (CACHE, DOMAIN_IDS, DOMAINS, LABELS, MAX_TOKENS, VOCABULARY, Encoded, batches, load_tokenizer,
                      mask_tokens, read_rows, train_tokenizer)
from gem import GemConfig, build
from torch import nn

HOME = CACHE / "gem-cls"
TOKENS_PER_BATCH = 1536
MASKED = {"teacher": 0.08, "student": 0.15}  # share of the tokens hidden while training
CENTROID_SAMPLE = 51_200  # activations of a k-means fit
REFIT_AT = 0.8  # of the run: one last fit, then the centroids are frozen
RESEED_BELOW = 0.1  # of the mean load
RESEED_BATCHES = 12  # loads are counted over these: one batch alone would make rare clusters look starved

ENCODER = dict(
    architectures=["GemForSequenceClassification"], hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
    intermediate_size=768, vocab_size=VOCABULARY, max_position_embeddings=MAX_TOKENS, hidden_act="gelu",
    mlp_gated=False, norm="layernorm", norm_eps=1e-12, norm_position="post", position_embedding="learned",
    type_vocab_size=2, attention_bias=True, mlp_bias=True, num_labels=len(LABELS),
    id2label={str(i): label for i, label in enumerate(LABELS)})
ROUTING = dict(
    domains=DOMAINS, router={"layers": "final", "score": "softmax", "top_k": 1, "threshold": 0.65,
                             "renormalize": False, "clusters": 64, "bias": False},
    scar={"layers": "routed", "heads": 4, "mask": "cluster_or_flag", "residual": False},
    modules={"kind": "lora", "rank": 16}, general_path="always")


# ---- the budget and the state of a stage ---------------------------------------------------------

class Budget:
    """How far a stage has come, from 0 to 1: by steps when they are given, else by minutes spent."""

    def __init__(self, minutes, steps):
        self.minutes, self.steps, self.step, self.spent, self.since = minutes, steps, 0, 0.0, time.monotonic()

    def seconds(self):
        return self.spent + time.monotonic() - self.since

    def done(self):
        return self.step / self.steps if self.steps else self.seconds() / (60 * self.minutes)


class Stage:
    """Model, optimiser and random state of one stage, kept in a file so that a run can go on."""

    def __init__(self, name, model, budget, rates, generator):
        self.path, self.model, self.budget, self.generator = HOME / f"{name}.state.pt", model, budget, generator
        self.optimizer = torch.optim.AdamW(rates, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, fused=True)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.extra, self.saved = {}, time.monotonic()
        if self.path.exists():
            self.resume()

    def resume(self):
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.budget.step, self.budget.spent, self.extra = state["step"], state["spent"], state["extra"]
        print(f"resumed at step {self.budget.step}, {self.budget.spent:.0f} s", flush=True)

    def save(self):
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "extra": self.extra,
                 "generator": self.generator.get_state(), "step": self.budget.step, "spent": self.budget.seconds()}
        beside = self.path.with_suffix(".tmp")
        torch.save(state, beside)
        beside.rename(self.path)
        self.saved = time.monotonic()

    def update(self, loss, warmup=0.04):
        """One optimiser step at the scheduled rate: linear warm-up, then linear to nearly zero."""
        done = self.budget.done()
        factor = min(done / warmup, (1 - done) / (1 - warmup), 1.0)
        for group, peak in zip(self.optimizer.param_groups, self.peaks):
            group["lr"] = peak * max(factor, 0.01)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.budget.step += 1


class Average:
    """An exponential mean of the weights: less noise than the last step's, at no second run."""

    def __init__(self, model, state=None):
        self.mean = copy.deepcopy(model).requires_grad_(False)
        if state is not None:
            self.mean.load_state_dict(state)

    @torch.no_grad()
    def follow(self, model, step):
        # Young averages forget faster, so that the start of the run does not linger.
        keep = min(0.995, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.mean.parameters()), list(model.parameters()), 1 - keep)
        if hasattr(model.model, "router"):
            self.mean.model.router.centroids.copy_(model.model.router.centroids)


# ---- forward passes -------------------------------------------------------------------------------

def plain_logits(model, ids):
    """The plain encoder's logits. Only position 0 is read, so the last layer computes no other."""
    body = model.model
    h = body.embed(ids)
    for layer in body.layers[:-1]:
        h, _ = layer(h, None, None, None)
    layer, attention = body.layers[-1], body.layers[-1].self_attn
    B, T, _ = h.shape
    q, k, v = (proj(x).view(B, -1, attention.c.num_attention_heads, attention.c.head_dim).transpose(1, 2)
               for proj, x in ((attention.q_proj, h[:, :1]), (attention.k_proj, h), (attention.v_proj, h)))
    mixed = attention.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, 1, -1))
    x = layer.post_attention_norm(h[:, :1] + mixed)
    return model.classifier(layer.output_norm(x + layer.general(x))[:, 0])


def bag_logits(model, ids):
    """Embeddings, averaged over the text and normalised; only embeddings and classifier are trained."""
    pooled = model.model.embed(ids)[:, 1:].mean(1)
    return model.classifier(F.layer_norm(pooled, pooled.shape[-1:]))


class StraightThrough(torch.autograd.Function):
    """x -> x in 8 bits, a scale per 32 values as in format B8; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx, x):
        blocks = x.reshape(-1, 32)
        scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
        return (blocks / scale).round_().mul_(scale).view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def eight_bit(x):
    """`x` in 8 bits where its rows are whole blocks; a LoRA's inner 16 values stay as they are."""
    return StraightThrough.apply(x) if x.shape[-1] % 32 == 0 else x


def eight_bit_forward(module):
    """What a linear layer or an embedding computes once weights and activations are quantised."""
    if isinstance(module, nn.Embedding):
        return lambda ids: eight_bit(F.embedding(ids, module.weight))
    return lambda x: F.linear(eight_bit(x), eight_bit(module.weight), module.bias)


def eight_bit_logits(model, ids):
    """Logits under fake quantisation of all that the compiler quantises: every product and the token embedding."""
    # Router, norms, position and type embeddings stay in f32, in the compiled model too.
    changed = [m for m in model.modules() if isinstance(m, nn.Linear)] + [model.model.embed_tokens]
    for module in changed:
        module.forward = eight_bit_forward(module)
    try:
        return model(ids).logits
    finally:
        for module in changed:
            del module.forward


# ---- initial weights ------------------------------------------------------------------------------

@torch.no_grad()
def start_from_bag(model, bag):
    """The encoder begins as the bag: first and last attention average all tokens, the rest does little."""
    model.model.embed_tokens.load_state_dict(bag.model.embed_tokens.state_dict())
    model.model.position_embeddings.load_state_dict(bag.model.position_embeddings.state_dict())
    model.model.token_type_embeddings.load_state_dict(bag.model.token_type_embeddings.state_dict())
    model.model.embed_norm.load_state_dict(bag.model.embed_norm.state_dict())
    model.classifier.load_state_dict(bag.classifier.state_dict())
    identity = torch.eye(model.config.hidden_size)
    for layer, gain in ((model.model.layers[0], 1.0), (model.model.layers[-1], 4.0)):
        layer.self_attn.v_proj.weight.copy_(identity + 0.2 * layer.self_attn.v_proj.weight)
        layer.self_attn.o_proj.weight.copy_(gain * identity + 0.2 * layer.self_attn.o_proj.weight)


@torch.no_grad()
def start_from_teacher(model, teacher):
    """The student begins as the teacher: SCAR has no residual, so it must let each token see mostly itself.

    With q = k = c x and values untouched, a token's own score leads by about c^2 (1 - cosine) sqrt(d / heads)."""
    missing, surplus = model.load_state_dict(teacher.state_dict(), strict=False)
    assert not surplus and all(".router." in n or ".scar." in n or ".modules." in n for n in missing), missing
    d = model.config.hidden_size
    q, k, v = model.model.scar.qkv.weight.view(3, d, d)
    for part, gain in ((q, 1.3), (k, 1.3), (v, 1.0)):
        part.mul_(0.1).add_(gain * torch.eye(d))
    model.model.scar.out.weight.mul_(0.1).add_(torch.eye(d))
    model.model.router.weight.normal_(0.0, 0.02, generator=torch.Generator().manual_seed(7))


# ---- k-means --------------------------------------------------------------------------------------

@torch.no_grad()
def reseed(router, x, generator):
    """Clusters below RESEED_BELOW of the mean load move to the rows of x [N, d] farthest from their centroid."""
    owner = router.nearest(x)
    load = torch.bincount(owner, minlength=len(router.centroids)).float()
    starved = (load < RESEED_BELOW * load.mean()).nonzero().squeeze(-1)
    if len(starved):
        distance = (x - router.centroids[owner]).pow(2).sum(-1)
        # A sample in proportion to the squared distance, as k-means++ seeds; the farthest alone are outliers.
        router.centroids[starved] = x[torch.multinomial(distance, len(starved), generator=generator)]
    return len(starved)


@torch.no_grad()
def fit_clusters(model, encoded, rows, generator, count=CENTROID_SAMPLE):
    """k-means over at least `count` activations of training texts; starved clusters are reseeded between rounds."""
    router, seen, total = model.model.router, [], 0
    for _, ids in batches(encoded, rows, 4 * TOKENS_PER_BATCH, generator):
        x = model(ids).routing["final"].x.flatten(0, 1)
        seen.append(x)
        total += len(x)
        if total >= count:
            break
    x = torch.cat(seen)
    router.fit_centroids(x, iterations=5, generator=generator)
    for _ in range(15):
        reseed(router, x, generator)
        for _ in range(3):
            router.update_centroids(x, rate=1.0)
    load = torch.bincount(router.nearest(x), minlength=len(router.centroids))
    print(f"k-means over {total} activations: loads {load.min()}..{load.max()}, "
          f"{(load < RESEED_BELOW * load.float().mean()).sum()} starved", flush=True)


# ---- evaluation while training --------------------------------------------------------------------

@torch.no_grad()
def macro_f1(forward, encoded):
    """Macro-F1 over all rows of a split; `forward` maps ids to logits."""
    guess = torch.empty(len(encoded), dtype=torch.long)
    for rows, ids in batches(encoded, range(len(encoded)), 4 * TOKENS_PER_BATCH):
        guess[rows] = forward(ids).argmax(-1)
    n = len(LABELS)
    table = torch.bincount(encoded.labels * n + guess, minlength=n * n).view(n, n).float()
    return (2 * table.diag() / (table.sum(0) + table.sum(1)).clamp(min=1)).mean().item()


# ---- the three stages -----------------------------------------------------------------------------

def decayed(model, rate, slow=()):
    """Parameter groups: no decay for vectors; parameters whose name contains one of `slow` learn at a third."""
    groups = {}
    for name, value in model.named_parameters():
        key = (value.dim() > 1 and "embed" not in name, any(s in name for s in slow))
        groups.setdefault(key, []).append(value)
    return [{"params": values, "lr": rate / 3 if is_slow else rate, "weight_decay": 0.01 if decay else 0.0}
            for (decay, is_slow), values in groups.items()]


def log(stage, losses, forward=None, validation=None):
    budget = stage.budget
    text = " ".join(f"{name} {value / losses['n']:.4f}" for name, value in losses.items() if name != "n")
    score = f" | validation macro-F1 {macro_f1(forward, validation):.4f}" if validation else ""
    print(f"{budget.done():6.1%} step {budget.step} {budget.seconds():.0f} s | {text}{score}", flush=True)


def add(losses, **terms):
    losses["n"] = losses.get("n", 0) + 1
    for name, value in terms.items():
        losses[name] = losses.get(name, 0.0) + value.item()


def train_bag(train, validation, epochs, generator):
    """Sparse and quick: a few epochs give the embeddings and the difficulty of every row."""
    model = build(GemConfig(**ENCODER), seed=1)
    model.model.embed_tokens.weight.data.mul_(5)
    used = [*model.model.embed_tokens.parameters(), *model.model.embed_norm.parameters(), *model.classifier.parameters()]
    optimizer = torch.optim.Adam(used, lr=2e-3, fused=True)
    sizes = len(list(batches(train, range(len(train)), 4 * TOKENS_PER_BATCH)))
    step = 0
    for epoch in range(epochs):
        losses = {}
        for rows, ids in batches(train, range(len(train)), 4 * TOKENS_PER_BATCH, generator):
            optimizer.param_groups[0]["lr"] = 2e-3 * max(0.02, 1 - step / (epochs * sizes))
            logits = bag_logits(model, mask_tokens(ids, 0.2, generator))
            loss = F.cross_entropy(logits, train.labels[rows], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            add(losses, loss=loss)
        f1 = macro_f1(lambda ids: bag_logits(model, ids), validation)
        print(f"bag epoch {epoch}: loss {losses['loss'] / losses['n']:.4f}, validation macro-F1 {f1:.4f}", flush=True)
    difficulty = torch.empty(len(train))
    with torch.no_grad():
        for rows, ids in batches(train, range(len(train)), 4 * TOKENS_PER_BATCH):
            difficulty[rows] = F.cross_entropy(bag_logits(model, ids), train.labels[rows], reduction="none")
    torch.save({"model": model.state_dict(), "difficulty": difficulty}, HOME / "bag.pt")


def visited(difficulty, generator):
    """Rows of one epoch: all that the bag finds hard, fewer of those that a word gives away."""
    return (torch.rand(len(difficulty), generator=generator) < 0.4 + 1.2 * difficulty).nonzero().squeeze(-1).tolist()


def class_weights(labels):
    """Macro-F1 counts labels alike, cross-entropy counts rows: a middle way, mean 1 over the rows."""
    count = torch.bincount(labels, minlength=len(LABELS)).float()
    weight = count ** -0.3
    return weight / (weight[labels].mean())


def epochs_of(stage, train, difficulty, limit):
    """Batches without end; `limit()` is the length to cut to at this point of the run."""
    while True:
        yield from batches(train, visited(difficulty, stage.generator), TOKENS_PER_BATCH, stage.generator, limit())


def train_teacher(train, validation, budget, generator):
    """The plain encoder, on cross-entropy alone."""
    bag = torch.load(HOME / "bag.pt", weights_only=True)
    start, model = build(GemConfig(**ENCODER)), build(GemConfig(**ENCODER), seed=2)
    start.load_state_dict(bag["model"])
    start_from_bag(model, start)
    stage = Stage("teacher", model, budget, decayed(model, 5e-4, slow=("embed_tokens",)), generator)
    weight, losses, next_score = class_weights(train.labels), {}, budget.done() + 0.1
    # Shorter texts first: a step costs less, and the whole text is needed only in the end.
    for rows, ids in epochs_of(stage, train, bag["difficulty"], lambda: 64 if budget.done() < 0.5 else MAX_TOKENS):
        if budget.done() >= 1:
            break
        logits = plain_logits(model, mask_tokens(ids, MASKED["teacher"], generator))
        loss = F.cross_entropy(logits, train.labels[rows], weight, label_smoothing=0.05)
        stage.update(loss)
        add(losses, loss=loss)
        if losses["n"] == 100:
            score = budget.done() >= next_score
            next_score += 0.1 * score
            log(stage, losses, lambda ids: plain_logits(model, ids), validation if score else None)
            losses = {}
        if time.monotonic() - stage.saved > 180:
            stage.save()
    stage.save()
    torch.save(model.state_dict(), HOME / "teacher.pt")
    print(f"teacher: validation macro-F1 {macro_f1(lambda ids: plain_logits(model, ids), validation):.4f}")


def student_loss(model, ids, labels, wanted, weight, terms):
    """The four terms of docs/results/gem-cls.md; `wanted` are the teacher's logits."""
    out = model(ids)
    task = F.cross_entropy(out.logits, labels, weight, label_smoothing=0.05)
    few = max(1, len(ids) // 4)  # an unbiased quarter of the batch: the quantised pass costs as much as the other
    change = (eight_bit_logits(model, ids[:few]) - out.logits[:few]).pow(2).mean()
    heat = 2.0
    distilled = heat ** 2 * F.kl_div((out.logits / heat).log_softmax(-1), (wanted / heat).log_softmax(-1),
                                     reduction="batchmean", log_target=True)
    routing = out.routing["final"]
    domain = DOMAIN_IDS[labels][:, None].expand(ids.shape)
    chosen = F.cross_entropy(routing.logits.flatten(0, 1), domain.flatten())
    add(terms, task=task, change=change, distilled=distilled, domain=chosen, fired=routing.flag.float().mean())
    return task + 0.3 * change + 0.7 * distilled + 0.1 * chosen, routing


def cluster_upkeep(stage, train, x):
    """k-means beside the training: fitted once the router has settled a little (streaming from step 0 collapses),
    streamed with reseeding, fitted once more at REFIT_AT and frozen. `x` are this step's activations [N, d]."""
    extra, done, router, generator = stage.extra, stage.budget.done(), stage.model.model.router, stage.generator
    if "frozen" in extra:
        return
    if done >= REFIT_AT:
        extra["frozen"] = True
        fit_clusters(stage.model, train, range(len(train)), generator)
    elif "fitted" in extra:
        router.update_centroids(x, rate=0.02)
        fresh = stage.recent = [*stage.recent, x][-RESEED_BATCHES:]
        if stage.budget.step % 50 == 0:
            reseed(router, torch.cat(fresh), generator)
    elif done >= 0.02:
        extra["fitted"] = True
        fit_clusters(stage.model, train, range(len(train)), generator, CENTROID_SAMPLE // 5)


def train_student(train, validation, budget, generator):
    """The teacher's encoder with router, SCAR and modules; what is kept is the mean of the weights."""
    difficulty = torch.load(HOME / "bag.pt", weights_only=True)["difficulty"]
    teacher, model = build(GemConfig(**ENCODER)), build(GemConfig(**ENCODER, **ROUTING), seed=3)
    teacher.load_state_dict(torch.load(HOME / "teacher.pt", weights_only=True))
    start_from_teacher(model, teacher)
    stage = Stage("student", model, budget, decayed(model, 3e-4, slow=("embed_tokens",)), generator)
    stage.recent = []
    average = Average(model, stage.extra.pop("average", None))

    def keep():
        stage.extra["average"] = average.mean.state_dict()
        stage.save()
        torch.save(average.mean.state_dict(), HOME / "student.pt")

    forward = lambda ids: average.mean(ids).logits
    weight, losses, next_score = class_weights(train.labels), {}, budget.done() + 0.1
    for rows, ids in epochs_of(stage, train, difficulty, lambda: 80 if budget.done() < 0.5 else MAX_TOKENS):
        if budget.done() >= 1:
            break
        with torch.no_grad():
            wanted = plain_logits(teacher, ids)
        shown = mask_tokens(ids, MASKED["student"], generator)
        loss, routing = student_loss(model, shown, train.labels[rows], wanted, weight, losses)
        stage.update(loss)
        cluster_upkeep(stage, train, routing.x.flatten(0, 1))
        average.follow(model, budget.step)
        if losses["n"] == 100:
            score = budget.done() >= next_score
            next_score += 0.1 * score
            log(stage, losses, forward, validation if score else None)
            losses = {}
        if time.monotonic() - stage.saved > 120:
            keep()
    keep()
    print(f"student: validation macro-F1 {macro_f1(forward, validation):.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("stage", choices=("bag", "teacher", "student"))
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--steps", type=int, help="instead of minutes: repeatable")
    parser.add_argument("--epochs", type=int, default=3, help="of the bag")
    args = parser.parse_args()
    torch.set_num_threads(1)
    HOME.mkdir(parents=True, exist_ok=True)
    rows = read_rows("train")
    if not (HOME / "tokenizer.json").exists():
        train_tokenizer(row["text"] for row in rows).save(str(HOME / "tokenizer.json"))
    tokenizer = load_tokenizer(HOME / "tokenizer.json")
    train, validation = Encoded(tokenizer, rows), Encoded(tokenizer, read_rows("validation"))
    generator = torch.Generator().manual_seed(11)
    if args.stage == "bag":
        train_bag(train, validation, args.epochs, generator)
        return
    budget = Budget(args.minutes, args.steps)
    {"teacher": train_teacher, "student": train_student}[args.stage](train, validation, budget, generator)


if __name__ == "__main__":
    main()
