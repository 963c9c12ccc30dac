"""From a built dataset to an adapter and its answers. Modules here import torch when they are used, not when named."""
