"""One fit by several processes
============================

One fit by several processes, each with its share of the rows; all of them end with the same model.

    torchrun --nproc-per-node=2 examples/many_processes.py rows.npy runs/features

The rows stay in their file: a memory map is opened by every process, and each reads its own range of it. Started by
``python`` instead of ``torchrun`` the same program is one process with all rows.
"""

import sys

import numpy as np

from layerwise import Adam, Autoencoder, KLSparsity, StackedAutoencoder, distributed, save


def main(data: str, out: str) -> None:
    """Fit to the rows of a ``.npy`` file, and save the model."""
    X = np.load(data, mmap_mode="r")
    sparse = Autoencoder(32, sparsity=KLSparsity(0.1), solver=Adam(max_iter=5))
    stack = StackedAutoencoder([sparse, 8], random_state=0)
    with distributed.joint():
        stack.fit(distributed.share(X))
        if distributed.rank() == 0:
            save(stack, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
