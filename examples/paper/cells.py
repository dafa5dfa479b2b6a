"""What has been trained stays: a cell for each base and each stage, by a hash of everything that decides it."""

import hashlib
import json
import os
from pathlib import Path

import torch

# To be raised with any change of the recipe that the settings do not show: cells of before are then not taken any more.
RECIPE = 2


class Cells:
    """Files in a folder, each whole or not there."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, key):
        text = json.dumps([RECIPE, key], sort_keys=True)
        return self.folder / f"{key['what']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"

    def has(self, key):
        return self.path(key).exists()

    def get(self, key):
        return torch.load(self.path(key), weights_only=False)  # our own file: models are kept as they are

    def unfinished(self, key):
        return Unfinished(self.path(key).with_suffix(".unfinished"))

    def put(self, key, value):
        partial = self.path(key).with_suffix(f".{os.getpid()}.partial")
        torch.save(value, partial)
        partial.rename(self.path(key))
        return value


class Unfinished:
    """What a long cell saves on its way."""

    def __init__(self, path):
        self.path = path

    def load(self):
        return torch.load(self.path, weights_only=False) if self.path.exists() else None

    def save(self, value):
        partial = self.path.with_suffix(".partial")
        torch.save(value, partial)
        partial.rename(self.path)

    def drop(self):
        self.path.unlink(missing_ok=True)
