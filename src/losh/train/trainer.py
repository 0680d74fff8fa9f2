"""The training loop: global batches, accumulation, mixed precision, exact resume."""

from __future__ import annotations

import contextlib
import inspect
import math
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from losh.clips.batches import Batch, make_batch
from losh.clips.dataset import ClipDataset, LoadedClip, readable
from losh.clips.loader import load_batches
from losh.clips.sampler import GlobalBatches
from losh.errors import UserError
from losh.inference.text_features import TextFeatures
from losh.model.criterion import Counts, Criterion
from losh.model.losh import LoSh
from losh.model.training_step import TrainingStep
from losh.params import TrainParams
from losh.runtime.distributed import Processes
from losh.runtime.environment import whole_number
from losh.runtime.machine import pick_precision
from losh.train.optimizer import make_optimizer, rate_factor, set_rates, unreached_parameters
from losh.train.state import Clock, Progress, StopRequest, TrainableWeights, load_state, save_state


class Stopped(Exception):
    """The training was asked to stop and has saved its state."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


class Trainer:
    """Runs epochs of optimiser steps; its caller validates and saves between them."""

    def __init__(
        self,
        model: LoSh,
        texts: TextFeatures,
        dataset: ClipDataset,
        batches: GlobalBatches,
        params: TrainParams,
        processes: Processes,
        state: Path,
    ) -> None:
        self.params, self.processes, self.state_path = params, processes, state
        self.dataset, self.batches, self.texts = dataset, batches, texts
        self.device = processes.device
        self.model = model.to(self.device)
        self.optimizer = make_optimizer(self.model, params)
        self.trainable = TrainableWeights(self.model)
        self.criterion = Criterion(self.model.base, params.losses, params.consistency)
        self.dtype = pick_precision(params.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.progress = Progress()
        if state.exists():
            self.progress = load_state(
                state, model=self.trainable, optimizer=self.optimizer, scaler=self.scaler
            )
        self._require_same_state()
        self.wrapped: nn.Module = TrainingStep(self.model, self.criterion)
        unused = self._announce_unreached()
        if params.compile:
            self.wrapped = TrainingStep(cast(nn.Module, torch.compile(self.model)), self.criterion)
        if processes.world > 1:
            self.wrapped = _synchronised(self.wrapped, self.device, bool(unused))
        self.stop = StopRequest()
        self.clock = Clock()

    def _announce_unreached(self) -> list[str]:
        """Names of the parameters that no loss reaches, found with the first clip; says which.

        DistributedDataParallel expects a gradient of each parameter, unless it is told to look for
        those without one; told so where all have one, it prints a warning.
        """
        self.model.train()
        multiple = self.model.base.image_multiple(training=True)
        batch = make_batch(readable([self.dataset[0]]), self.device, multiple)
        loss = self._forward(batch, self._global_counts([batch]))["total"]
        names = unreached_parameters(self.model, loss)
        parts = sorted({name.rpartition(".")[0] for name in names})
        if parts and self.processes.is_main:
            shown = ", ".join(parts[:8]) + (", ..." if len(parts) > 8 else "")
            print(f"train: no loss reaches, and nothing changes, {shown}")
        return names

    def _require_same_state(self) -> None:
        """Stop where the processes would go on from different steps."""
        steps = self.processes.gather((self.progress.epoch, self.progress.step))
        if len(set(steps)) > 1:
            raise UserError(
                f"the processes read different states of the training from {self.state_path}",
                "Run the same command again: what one machine lacks is sent to it",
            )

    def run_epoch(self, bar: tqdm) -> dict[str, float]:
        """Run the rest of the current epoch; return the mean of each loss term over its steps.

        Raises:
            Stopped: a signal asked for it; the state is saved.
            UserError: the loss is not finite and train.on_error is `stop`.
        """
        self.model.train()
        orders = list(self.batches.epoch(self.progress.epoch, self.progress.step))
        for found in load_batches(self.dataset, orders, self.device):
            loaded = readable(found)
            set_rates(
                self.optimizer,
                rate_factor(
                    self._global_step,
                    self.progress.epoch,
                    self.params.epochs * self.batches.steps,
                    self.params,
                ),
            )
            terms = self._step(loaded)
            self.progress.step += 1
            for name, value in terms.items():
                self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
            bar.set_postfix(loss=f"{terms.get('total', math.nan):.3f}", refresh=False)
            bar.update()
            self._save_if_due()
        steps = max(1, self.progress.step - int(self.progress.sums.pop("skipped_steps", 0)))
        means = {name: value / steps for name, value in self.progress.sums.items()}
        self.progress.epoch, self.progress.step, self.progress.sums = self.progress.epoch + 1, 0, {}
        return means

    @property
    def _global_step(self) -> int:
        return self.progress.epoch * self.batches.steps + self.progress.step

    def save(self) -> None:
        """Save the state for a resume; one process of each folder writes it."""
        if self.processes.keeps:
            save_state(
                self.state_path,
                self.progress,
                model=self.trainable,
                optimizer=self.optimizer,
                scaler=self.scaler,
            )
        self.processes.wait()

    def _save_if_due(self) -> None:
        # All processes must agree, or some would wait for others that have left.
        flags = torch.tensor([self.stop.signal, int(self.clock.is_due())], device=self.device)
        signal, due = (
            self.processes.sum(flags).tolist() if self.processes.world > 1 else flags.tolist()
        )
        if signal or due:
            self.save()
        if signal:
            raise Stopped(self.stop.signal or signal)

    def _step(self, loaded: list[LoadedClip]) -> dict[str, float]:
        """Do one optimiser step on this process's part of a global batch.

        The loss terms are of the whole global batch.
        """
        # Seeded by the step, so that dropout after a resume is what it would have been.
        torch.manual_seed(
            hash((self.params.seed, self.progress.epoch, self.progress.step, self.processes.rank))
            % 2**31
        )
        multiple = self.model.base.image_multiple(training=True)
        parts = [make_batch(part, self.device, multiple) for part in micro_batches(loaded)]
        counts = self._global_counts(parts)
        totals: dict[str, Tensor] = {}
        for i, batch in enumerate(parts):
            last = i == len(parts) - 1
            waits = (
                contextlib.nullcontext()
                if last or not isinstance(self.wrapped, DistributedDataParallel)
                else self.wrapped.no_sync()
            )
            with waits:
                losses = self._forward(batch, counts)
                # DDP takes the mean over processes; ours is a sum of shares of one global loss.
                self.scaler.scale(losses["total"] * self.processes.world).backward()
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach().float()
        names = sorted(totals)
        values = self.processes.sum(torch.stack([totals[name] for name in names])).tolist()
        terms = dict(zip(names, values, strict=True))
        self._update(terms, loaded)
        return terms

    def _forward(self, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            long, short = self.texts.inputs(batch.long), self.texts.inputs(batch.short)
            return self.wrapped(batch.clips, long, short, batch.targets, batch.flow, counts)

    def _global_counts(self, parts: list[Batch]) -> Counts:
        """Return what the losses of the whole global batch are divided by."""
        local = [self.criterion.count(batch.targets, batch.flow) for batch in parts]
        names = sorted(local[0])
        sums = [sum(count[name] for count in local) for name in names]
        values = torch.tensor(sums, dtype=torch.float64, device=self.device)
        return dict(zip(names, self.processes.sum(values).tolist(), strict=True))

    def _update(self, terms: dict[str, float], loaded: list[LoadedClip]) -> None:
        """Clip and step, unless the loss is not finite."""
        if math.isfinite(terms["total"]):
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(
                [p for group in self.optimizer.param_groups for p in group["params"]],
                self.params.clip_norm,
            )
            # With scaling an infinite gradient only means a smaller scale: the scaler skips the
            # step itself.
            if torch.isfinite(norm) or self.scaler.is_enabled():
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad(set_to_none=True)
                return
            terms["gradient"] = float(norm)
        self.optimizer.zero_grad(set_to_none=True)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        clips = ", ".join(sample.sample_id for clip in loaded for sample in clip.samples)
        when = f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1}"
        what = f"the loss is not finite in {when} ({shown}); clips of this process: {clips}"
        if self.params.on_error == "stop":
            raise UserError(what, "Lower train.learning_rate, or set train.on_error to skip")
        if self.processes.is_main:
            tqdm.write(f"skipped a step: {what}")
        self.progress.skipped += 1
        terms.clear()
        terms["skipped_steps"] = 1.0


def micro_batches(loaded: list[LoadedClip]) -> list[list[LoadedClip]]:
    """Divide a step into parts that fit together.

    A part has equal numbers of frames and of annotated frames, and at most LOSH_CLIPS_PER_DEVICE
    clips.

    Gradients add up over the parts: the result is that of the whole, exactly where all clips have
    one size (else the padding differs).
    """
    limit = whole_number("LOSH_CLIPS_PER_DEVICE") or len(loaded)
    groups: dict[tuple[int, int], list[LoadedClip]] = {}
    for clip in loaded:
        groups.setdefault((clip.frames.shape[0], clip.masks.shape[1]), []).append(clip)
    return [group[i : i + limit] for group in groups.values() for i in range(0, len(group), limit)]


def _synchronised(module: nn.Module, device: torch.device, unused: bool) -> DistributedDataParallel:
    """Wrap a module whose buffers are the same everywhere: they are not copied in each step.

    Args:
        module: what all processes compute.
        device: this process's.
        unused: whether some parameters get no gradient.
    """
    options: dict[str, Any] = {"gradient_as_bucket_view": True, "find_unused_parameters": unused}
    known = inspect.signature(DistributedDataParallel).parameters
    # The first is the newer name; PyTorch warns of the other where it has both.
    names = ("forward_sync_buffers", "broadcast_buffers")
    options[next(name for name in names if name in known)] = False
    if device.type == "cuda":
        options["device_ids"] = [device.index]
    return DistributedDataParallel(module, **options)
