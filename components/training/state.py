"""Everything that changes while a training runs, and its way to a checkpoint and back."""

import copy
from typing import Any

import torch
from torch import Tensor

from components.layers.backbone import Model
from components.recipe import Recipe
from components.training import determinism, ranks
from components.training.checkpoint import Snapshot
from components.training.optimizers import adamw


class TrainingState:
    """Model, average, optimizer, position and the best epoch so far."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        device = next(model.parameters()).device
        self.model, self.recipe, self.ranks = model, recipe, ranks.current()
        self.averaged = copy.deepcopy(model) if recipe.ema is not None else None
        for each in (self.model, self.averaged):
            if each is not None:
                self.ranks.place(each)
        self.optimizer = adamw(model, recipe.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.step = self.epoch = self.position = 0
        self.loss_sum, self.loss_terms, self.last_loss = 0.0, 0, 0.0
        self.best: dict[str, Tensor] = {}
        self.best_step = self.best_epoch = 0
        self.best_scores: dict[str, float] = {}

    @property
    def tested(self) -> Model:
        """The model whose weights would be the result now."""
        return self.model if self.averaged is None else self.averaged

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        patience = self.recipe.budget.patience
        if patience is None or not self.best_scores:
            return False
        return self.epoch - 1 - self.best_epoch >= patience

    @property
    def size_bytes(self) -> int:
        """About what a snapshot takes: weights, two moments of each, the average, the best."""
        parts = 4 + (self.averaged is not None)
        return parts * sum(each.nbytes for each in self.model.state_dict().values())

    def advance(self, total: float, terms: int, batches: int) -> None:
        """Count a step that was taken; after the last of `batches` the next epoch begins."""
        self.step += 1
        self.loss_sum += total
        self.loss_terms += terms
        self.position += 1
        if self.position == batches:
            self.epoch, self.position = self.epoch + 1, 0
        if self.averaged is not None and self.recipe.ema is not None:
            self._average(self.averaged, self.recipe.ema)

    def close_epoch(self, scores: dict[str, float]) -> None:
        """Keep the weights if their score is the best so far; the first of equals stays."""
        self.last_loss = self.loss_sum / max(self.loss_terms, 1)
        self.loss_sum, self.loss_terms = 0.0, 0
        if not scores or not self._better(scores):
            return
        state = self.tested.state_dict()
        self.best = {name: value.detach().clone() for name, value in state.items()}
        self.best_scores, self.best_step = scores, self.step
        self.best_epoch = self.epoch - 1 if self.position == 0 else self.epoch

    def result(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The weights to keep and the scores to tell."""
        scores = {"train/loss": self.last_loss, **self.best_scores}
        return self.ranks.whole(self.best or self.tested.state_dict()), scores

    def snapshot(self) -> Snapshot:
        """The whole state; its tensors are the live ones, so it is to be written at once."""
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        if self.averaged is not None:
            state = self.averaged.state_dict()
            tensors |= {f"ema/{name}": value for name, value in state.items()}
        for name, parameter in self.model.named_parameters():
            for part, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{part}/{name}"] = value
        states = determinism.generator_tensors()
        tensors |= {f"generator/{name}": value for name, value in states.items()}
        tensors, best = self.ranks.whole(tensors), self.ranks.whole(self.best)
        return Snapshot(self.step, tensors, self._facts(), best, self.best_step)

    def restore(self, snapshot: Snapshot) -> None:
        """Become the state that a snapshot holds; the generators last."""
        own = self.model.state_dict()
        self.model.load_state_dict(self.ranks.part(_below(snapshot.tensors, "model/"), own))
        if self.averaged is not None:
            self.averaged.load_state_dict(self.ranks.part(_below(snapshot.tensors, "ema/"), own))
        self._restore_optimizer(snapshot.tensors)
        facts = snapshot.facts
        self.step, self.epoch, self.position = snapshot.step, facts["epoch"], facts["position"]
        self.loss_sum, self.loss_terms = facts["loss_sum"], facts["loss_terms"]
        self.last_loss = facts["last_loss"]
        device = next(self.model.parameters()).device
        best = self.ranks.part(snapshot.best, own)
        self.best = {name: value.to(device) for name, value in best.items()}
        self.best_step, self.best_epoch = snapshot.best_step, facts["best_epoch"]
        self.best_scores = facts["best_scores"]
        self.scaler.load_state_dict(facts["scaler"])
        generators = _below(snapshot.tensors, "generator/")
        determinism.restore_generators(generators, facts["generators"])

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        # Not load_state_dict: it would keep the file's memory layout, and the fused kernel walks
        # a channels_last parameter and its moments side by side through raw memory.
        saved = _below(tensors, "optimizer/")
        own = dict(self.model.named_parameters())
        for part in ("exp_avg", "exp_avg_sq"):
            for name, value in self.ranks.part(_below(saved, f"{part}/"), own).items():
                place = torch.empty_like(own[name], memory_format=torch.preserve_format)
                self.optimizer.state[own[name]][part] = place.detach().copy_(value)
        for name, parameter in own.items():
            if f"step/{name}" in saved:
                step = saved[f"step/{name}"].to(parameter.device)
                self.optimizer.state[parameter]["step"] = step

    def _facts(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "position": self.position,
            "loss_sum": self.loss_sum,
            "loss_terms": self.loss_terms,
            "last_loss": self.last_loss,
            "best_epoch": self.best_epoch,
            "best_scores": self.best_scores,
            "scaler": self.scaler.state_dict(),
            "generators": determinism.generator_facts(),
        }

    def _better(self, scores: dict[str, float]) -> bool:
        objective = self.recipe.objective
        name = f"val/{objective.metric}"
        if not self.best_scores:
            return True
        if objective.direction == "maximize":
            return scores[name] > self.best_scores[name]
        return scores[name] < self.best_scores[name]

    @torch.no_grad()
    def _average(self, averaged: Model, decay: float) -> None:
        # A young average follows faster: it would else remember the random start for long.
        decay = min(decay, (1 + self.step) / (10 + self.step))
        shadow: list[Tensor] = [*averaged.parameters()]
        live: list[Tensor] = [*self.model.parameters()]
        shadow, live = self.ranks.local(shadow), self.ranks.local(live)
        torch._foreach_lerp_(shadow, live, 1 - decay)
        for kept, value in zip(averaged.buffers(), self.model.buffers(), strict=True):
            kept.copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
