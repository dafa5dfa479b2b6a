"""The PyTorch reference of the GEM checkpoint format: config, model classes, loading and saving."""

from .checkpoint import load, read_tensors, save
from .config import ConfigError, GemConfig, ModulesConfig, RouterConfig, ScarConfig
from .modeling import (
    GemForCausalLM,
    GemForSequenceClassification,
    GemModel,
    GemOutput,
    Router,
    Routing,
    build,
)

__all__ = [
    "ConfigError",
    "GemConfig",
    "GemForCausalLM",
    "GemForSequenceClassification",
    "GemModel",
    "GemOutput",
    "ModulesConfig",
    "Router",
    "RouterConfig",
    "Routing",
    "ScarConfig",
    "build",
    "load",
    "read_tensors",
    "save",
]
