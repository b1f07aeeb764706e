"""Runs, datasets and exported policies on a Hugging Face Hub, or in a folder that a team shares.

What is pushed is a folder that explains itself: a model card with task, scores and command is added
where there is none. What is pulled is only files of kinds that this library writes, and is checked
as files of strangers are (SECURITY.md).
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rate.dataset.card import CARD
from rate.extras import how_to_install
from rate.messages import reason
from rate.runs.folder import Run
from rate.storage.files import storage_errors
from rate.storage.folders import new_folder
from rate.storage.untrusted import visible

Kind = Literal["run", "dataset", "exported policy"]

PATTERNS = (
    *("*.json", "*.jsonl", "*.npy", "*.npz", "*.safetensors", "*.onnx", "*.onnx.data", "*.pt2"),
    *("*.md", "*.html", "*.svg", "*.png", "*.webp", "*.mp4", "example.py"),
)
"""Files that are pushed and pulled."""
_STATE = "training.safetensors"
_CARD = "README.md"


class SharingError(ValueError):
    """Something that cannot be pushed or pulled; the message says why and what to do."""


def push(
    folder: str | Path,
    to: str,
    *,
    private: bool = False,
    with_training_state: bool = False,
    message: str = "",
) -> str:
    """Share a run, a dataset or an exported policy.

    Args:
        folder: What is shared.
        to: Repository on the Hub, such as `name/tmaze-rate`, or a folder that a team shares, as in
            `/team/tmaze-rate` or `./team/tmaze-rate`. The Hub takes its token from
            `hf auth login` or HF_TOKEN, and its address from HF_ENDPOINT.
        private: Whether a new repository is private.
        with_training_state: Also the optimiser's state, from which training goes on.
        message: What the commit says.

    Returns:
        The address of what was shared.

    Raises:
        SharingError: The folder holds nothing to share, or the Hub refuses it.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    left_out = () if with_training_state else (_STATE,)
    files = [path for path in _files(folder) if path.name not in left_out]
    if _is_place(to):
        with new_folder(Path(to).expanduser()) as written:
            _copy(files, folder, written)
            if not (written / _CARD).exists():
                (written / _CARD).write_text(card_of(folder, kind, to), encoding="utf-8")
        return str(Path(to).expanduser())
    card = None if (folder / _CARD).exists() else card_of(folder, kind, to).encode()
    with _hub_errors(to) as hub:
        api = hub.HfApi()
        of = "dataset" if kind == "dataset" else "model"
        api.create_repo(to, repo_type=of, private=private, exist_ok=True)
        adding = [
            hub.CommitOperationAdd(path.relative_to(folder).as_posix(), str(path)) for path in files
        ]
        if card:
            adding.append(hub.CommitOperationAdd(_CARD, card))
        done = api.create_commit(
            to, adding, commit_message=message or f"Add {kind} {folder.name}", repo_type=of
        )
    return str(done.commit_url).partition("/commit/")[0]


def pull(
    origin: str,
    output: str | Path,
    *,
    kind: Literal["model", "dataset"] = "model",
    revision: str | None = None,
) -> Path:
    """Fetch what somebody has shared.

    Args:
        origin: Repository on the Hub, or a folder.
        output: Folder to write, which must not exist.
        kind: Kind of the repository on the Hub: a run or exported policy is a model.
        revision: Branch, tag or commit of the repository; by default the newest.

    Returns:
        The folder.

    Raises:
        SharingError: There is no such repository, or it holds none of these.
        FileExistsError: There is something at `output`.
    """
    output = Path(output)
    with new_folder(output) as written:
        if _is_place(origin):
            place = Path(origin).expanduser()
            if not place.is_dir():
                raise SharingError(f"{origin} is no folder: name the one that was shared")
            _copy(_files(place), place, written)
        else:
            with _hub_errors(origin) as hub:
                hub.snapshot_download(
                    origin,
                    repo_type=kind,
                    revision=revision,
                    local_dir=written,
                    allow_patterns=list(PATTERNS),
                )
            shutil.rmtree(written / ".cache", ignore_errors=True)
        kind_of(written, origin)
    return output


def kind_of(folder: Path, name: str | Path | None = None) -> Kind:
    """What a folder holds.

    Args:
        folder: The folder.
        name: What it is called in the message of an error.

    Raises:
        SharingError: It holds no run, dataset or exported policy.
    """
    if Run(folder).exists:
        return "run"
    if (folder / CARD).is_file():
        return "dataset"
    if (folder / "initial_state.npz").is_file() and (folder / "config.json").is_file():
        return "exported policy"
    raise SharingError(
        f"{name or folder} holds no run (recipe.json), dataset (card.json) or exported policy "
        "(config.json and initial_state.npz)"
    )


def card_of(folder: Path, kind: Kind, name: str) -> str:
    """A card for what has none: the header that the Hub reads, and a page for people."""
    header = ["---", "library_name: rate-rl", "tags:", "- offline-rl", "- memory"]
    lines = [f"# {Path(name).name}", ""]
    if kind == "dataset":
        header += ["- dataset", "---", ""]
        lines += [
            "Recorded episodes, to be read by `rate.open_dataset` or `rate data info`.",
            "",
            f"    rate pull {name} --output data/{Path(name).name} --kind dataset",
        ]
    else:
        header += ["- reinforcement-learning", "---", ""]
        lines += _run_card(Run(folder)) if kind == "run" else ["A policy with memory.", ""]
        lines += [f"    rate pull {name} --output runs/{Path(name).name}"]
    return visible("\n".join([*header, *lines, ""]))


def _run_card(run: Run) -> list[str]:
    recipe, facts = run.recipe_file, run.provenance()
    lines = [
        f"A policy trained on {facts.get('task') or 'recorded data'} with seed {facts['seed']}; "
        f"`{recipe.name}` says how.",
        "",
        "| task | metric | mean | standard error | episodes |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['task']} | {row['metric']} | {row['value']:.3f} | {row['standard_error']:.3f} | "
        f"{row['episodes']} |"
        for row in run.scores()
    ]
    return [*lines, ""]


def _copy(files: Iterable[Path], folder: Path, to: Path) -> None:
    with storage_errors(to):
        for path in files:
            place = to / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _files(folder: Path) -> Iterator[Path]:
    """Files to share, without hidden ones and links."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        linked = any(one.is_symlink() for one in (path, *path.parents) if folder in one.parents)
        known = any(path.match(pattern) for pattern in PATTERNS)
        if known and path.is_file() and not hidden and not linked:
            yield path


def _is_place(name: str) -> bool:
    """Whether a name is that of a folder; a repository is `owner/name` or `name`."""
    return name.startswith((".", "~")) or Path(name).is_absolute()


@contextmanager
def _hub_errors(name: str) -> Iterator[Any]:
    """The module huggingface_hub; its errors are sentences."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise ModuleNotFoundError(
            f"the Hub needs huggingface_hub: {how_to_install('hub')}"
        ) from error
    try:
        yield huggingface_hub
    except HFValidationError as error:
        raise SharingError(
            f"{name!r} is no repository of a Hub ({reason(error)}): write owner/name, or a folder "
            "that begins with ./ or /"
        ) from error
    except HfHubHTTPError as error:
        raise SharingError(
            f"the Hub refused {name!r} ({reason(error)}): check the name, and that `hf auth login` "
            "or HF_TOKEN allows it"
        ) from error
    except Exception as error:  # of whichever HTTP library this version of huggingface_hub has
        raise SharingError(
            f"the Hub cannot be reached for {name!r} ({reason(error)}): check the network and "
            "HF_ENDPOINT"
        ) from error
