"""Export to the formats of other libraries."""

from pathlib import Path
from typing import Literal

from rate.dataset import Dataset
from rate.dataset.export_lerobot import export_lerobot
from rate.dataset.export_minari import export_minari
from rate.values import Positive, checks_arguments


@checks_arguments
def export_dataset(
    dataset: Dataset,
    output: str | Path,
    *,
    file_format: Literal["minari", "lerobot"] = "minari",
    dataset_id: str = "",
    data_format: Literal["hdf5", "arrow"] = "hdf5",
    fps: Positive = 30,
) -> Path:
    """Write a dataset for another library, images byte for byte.

    Args:
        dataset: The dataset; its folder on the command line.
        output: Folder of Minari's datasets, which others read with MINARI_DATASETS_PATH set to it;
            or the folder of LeRobot's dataset.
        file_format: Minari's format, or LeRobot's version 3.
        dataset_id: Minari's name of the dataset, such as rate/tmaze-v0; by default
            rate/<name of the dataset's folder>-v0.
        data_format: Minari's file format.
        fps: Steps per second, for LeRobot's timestamps.

    Returns:
        The folder of the dataset.

    Raises:
        DatasetError: The folder exists already, or the format cannot hold the data.
        ModuleNotFoundError: A library that the format needs is not installed.
        OSError: The disk is full or read-only; the message says which.
    """
    if file_format == "lerobot":
        return export_lerobot(dataset, output, fps=fps)
    return export_minari(dataset, output, dataset_id, data_format=data_format)
