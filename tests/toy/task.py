"""The toy family's data, model and loss."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from tests.toy.family import ToyConfig
from weft.data.source import Batch, DataSpec, Field, Source, Splits, TensorSource
from weft.task.context import Context
from weft.task.task import Task

ITEMS, HELD_OUT = 45, 16


class ToyTask(Task[ToyConfig, nn.Module, TensorSource]):
    def spec(self) -> DataSpec:
        size = self.config.batch_size
        sizes = {"train": ITEMS, "val": 0, "test": HELD_OUT}
        if self.config.validate_on == "val":
            sizes["val"] = HELD_OUT
        fields = {"x": Field((3,)), "y": Field((1,))}
        return DataSpec(fields, (size,), ITEMS // size, sizes)

    def data(self) -> Splits[TensorSource]:
        generator = torch.Generator().manual_seed(1)

        def source(count: int) -> TensorSource:
            x = torch.randn(count, 3, generator=generator)
            y = x.sum(1, keepdim=True) + 0.1 * torch.randn(count, 1, generator=generator)
            return TensorSource({"x": x, "y": y}, self.config.batch_size)

        train, val, test = source(ITEMS), source(HELD_OUT), source(HELD_OUT)
        return Splits(train, val if self.config.validate_on == "val" else None, test)

    def model(self, spec: DataSpec) -> nn.Module:
        width = self.config.width
        return nn.Sequential(
            nn.Linear(3, width), nn.Dropout(self.config.dropout), nn.ReLU(), nn.Linear(width, 1)
        )

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        x = batch["x"]
        noise = torch.randn(x.shape, generator=ctx.generator("noise"), device=x.device)
        return {**batch, "x": x + self.config.noise * noise} if self.config.noise else batch

    def loss(
        self, model: nn.Module, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        time.sleep(self.config.pause)
        loss = (model(batch["x"]) - batch["y"]).square().mean()
        if ctx.step == self.config.poison:
            loss = loss * float("nan")
        return loss, {"double": 2 * loss.detach()}

    def evaluate(self, model: nn.Module, source: Source, ctx: Context) -> dict[str, float]:
        total = torch.zeros(())
        for batch in source.batches(5):
            total += (model(batch["x"]) - batch["y"]).square().sum()
        return {"loss": float(total) / len(source)}

    def notes(self, model: nn.Module, spec: DataSpec) -> list[str]:
        return [
            f"a line of {sum(1 for _ in model.parameters())} parts, {spec.batch_shape[0]} points"
        ]

    def figures(self, history: list[dict[str, Any]]) -> Any:
        return iter(())
