"""The Flower ServerApp: puts a run's parts together."""

from __future__ import annotations

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.config import resolve, to_toml
from common.data.shares import preparation_of, public_images_of
from common.models import pinned
from common.run_folder import RunFolder, exclusively, run_root, write_atomically
from server.copies import LedgerCopies, keep_copies
from server.evaluation import Evaluator
from server.folder_observer import FolderObserver
from server.lifeline import end_with_parent
from server.observer import OBSERVER
from server.receipts import ReceiptBook
from server.rounds import Coordinator
from server.seen import SeenLedgers

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run, or continue, the run that the settings describe, in its folder.

    The test images are public; no client's records are read here.
    """
    torch.set_num_threads(1)  # sums in one order, so that a loss does not depend on the machine's cores
    config = pinned(resolve(context.run_config))
    folder = RunFolder(run_root(config.runtime.out, context.run_id))
    if not folder.config.exists():
        write_atomically(folder.config, to_toml(config).encode())
    preparation = preparation_of(config)  # refuses here what every client would
    evaluator = Evaluator(
        public_images_of(config),
        model=config.model,
        loss=config.training.loss,
        device=preparation.device,
        workers=preparation.workers,
        feature_cache=preparation.cache,
    )
    home = folder.home(config.runtime.ledgers)
    simulated = OBSERVER.get(None)
    if simulated is None:
        end_with_parent()
    with exclusively(folder), ReceiptBook.open(home) as book:
        coordinator = Coordinator(
            grid=grid,
            config=config,
            folder=folder,
            evaluator=evaluator,
            observer=simulated or FolderObserver(folder, config.stamp, SeenLedgers(home)),
            book=book,
            copies=None if simulated or home.root == folder.root else LedgerCopies(folder),
        )
        state = coordinator.run()
    if home.root != folder.root:
        keep_copies(folder, home, state)
