"""Models: one backbone per file; the file's name is the model's name on the command line.

A model outside this library is named by the address of its configuration class, such as
`my_module:Config` or `path/to/file.py:Config`; using it runs its code.
"""

from rate.configs import Configs

MODELS = Configs("model", "rate.models", "rate.models.backbone:ModelConfig")
"""Models by name."""

names, config_class, model_name = MODELS.names, MODELS.find, MODELS.name_of
