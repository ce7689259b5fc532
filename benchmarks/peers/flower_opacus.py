"""Rounds as Flower's own example of Opacus runs them, under Ray: prints each round's seconds as JSON.

One process a core; in every round each client makes its data loader, model, optimiser and privacy engine
anew, as the example does. It loads images as the example does, one by one from a Hugging Face data set of PNG
files, or all at once from an array, which is quicker.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from numpy.typing import NDArray
from opacus import PrivacyEngine
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from common.models import build_model

BATCH = 32


class Stopwatch(FedAvg):
    """Stock FedAvg that notes when a round's clients are asked and when all have answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._asked = 0.0
        self.rounds: list[float] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Note when the round begins."""
        self._asked = time.perf_counter()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average, then note how long the round took."""
        result = super().aggregate_train(server_round, replies)
        self.rounds.append(time.perf_counter() - self._asked)
        return result


def write_dataset(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], clients: int) -> None:
    """Write each client's share of uint8 [n, 3, h, w] as Hugging Face has CIFAR-10: PNG files in Arrow."""
    import datasets

    def png(image: NDArray[np.uint8]) -> dict[str, bytes]:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "PNG")
        return {"bytes": file.getvalue()}

    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    for number, share in enumerate(np.array_split(np.arange(len(images)), clients)):
        records = {"img": [png(image) for image in images[share]], "label": labels[share]}
        datasets.Dataset.from_dict(records, features=features).save_to_disk(folder / str(number))


def one_by_one(folder: Path, part: int) -> DataLoader[Any]:
    """Return a loader as the example makes it: each image decoded and normalised on its own."""
    import datasets
    from torchvision.transforms import Compose, Normalize, ToTensor

    transforms = Compose([ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])

    def apply_transforms(batch: dict[str, Any]) -> dict[str, Any]:
        batch["img"] = [transforms(image) for image in batch["img"]]
        return batch

    records = datasets.load_from_disk(folder / str(part)).with_transform(apply_transforms)
    return DataLoader(records, batch_size=BATCH, shuffle=True)


def all_at_once(folder: Path, part: int, clients: int) -> DataLoader[Any]:
    """Return a loader of images that are tensors already."""
    data, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    share = np.array_split(np.arange(len(data)), clients)[part]
    pixels = torch.from_numpy(data[share]).float().div_(127.5).sub_(1.0)
    return DataLoader(TensorDataset(pixels, torch.from_numpy(labels[share])), batch_size=BATCH, shuffle=True)


def client_app(folder: Path, loading: str, clients: int) -> ClientApp:
    """Return a client that trains one epoch of its share with stock Opacus."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        warnings.filterwarnings("ignore")
        part = int(context.node_config["partition-id"])
        quick = loading == "array"
        loader = all_at_once(folder, part, clients) if quick else one_by_one(folder, part)
        model = build_model("cnn", num_classes=10)
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())  # type: ignore[union-attr]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        private, optimizer, loader = PrivacyEngine(secure_mode=False).make_private(
            module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
        )
        for batch in loader:
            images, targets = batch.values() if isinstance(batch, dict) else batch
            optimizer.zero_grad()
            functional.cross_entropy(private(images), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        reply = RecordDict(
            {
                "arrays": ArrayRecord(private._module.state_dict()),
                "metrics": MetricRecord({"num-examples": len(loader.dataset)}),
            }
        )
        return Message(reply, reply_to=message)

    return app


def main() -> None:
    """Run a few rounds and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="images.npy and labels.npy, and what write_dataset wrote")
    parser.add_argument("loading", choices=("example", "array"))
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    began = time.perf_counter()
    strategy = Stopwatch(fraction_evaluate=0.0)
    server = ServerApp()

    @server.main()
    def run(grid: Grid, _context: Context) -> None:
        initial = ArrayRecord(build_model("cnn", num_classes=10).state_dict())
        strategy.start(grid, initial, num_rounds=arguments.rounds)

    run_simulation(
        server,
        client_app(arguments.folder.absolute(), arguments.loading, arguments.clients),
        num_supernodes=arguments.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    whole = time.perf_counter() - began
    figures = {"rounds": strategy.rounds, "start": whole - sum(strategy.rounds)}
    arguments.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
