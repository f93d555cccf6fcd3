"""Why a model or tokenizer could not be loaded, in one sentence that says what to do.

transformers, huggingface_hub, tokenizers and torch report the same few mistakes in many ways: as OSError with a cause,
as a validation error over three lines, or as a bare Exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

from httpx import TransportError
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.utils.logging import disable_progress_bar

from allgood.errors import ModelError
from allgood.scorers.hub_names import split_revision

Kind = Literal["model", "tokenizer", "model configuration", "dataset"]

_REMEDY = {
    "model": "check the name, or the files in the folder",
    "tokenizer": "give a folder written by save_pretrained, tokenizer included, or a name on the hub",
    "model configuration": "check the name, or config.json in the folder",
    "dataset": "check the name, or give a file",
}
_LONG = 150  # characters; of a longer line only its first sentence is shown


@contextmanager
def loading(kind: Kind, source: str | Path) -> Iterator[None]:
    """Load with transformers inside; what is raised becomes one sentence about `source`.

    Raises:
        ModelError: Anything was raised.
    """
    disable_progress_bar()  # bars of many actors would run over each other
    try:
        yield
    # Whatever loading raises is about foreign files, and the tokenizers library raises Exception itself.
    except Exception as error:
        raise load_error(kind, source, error) from error


def load_error(kind: Kind, source: str | Path, error: Exception) -> ModelError:
    """What to tell the user of `error`, which loading `source` has raised."""
    name = str(source).removesuffix("@main")  # which nobody writes
    known = _of_the_hub(kind, name, error) or _of_the_files(kind, name, error)
    return ModelError(known or f"no {kind} can be loaded from {name!r} ({in_one_line(error)}); {_REMEDY[kind]}")


def _of_the_hub(kind: Kind, name: str, error: Exception) -> str | None:
    what, place = ("dataset", "datasets/") if kind == "dataset" else ("model", "")
    plain, revision = split_revision(name)
    causes = tuple(_chain(error))

    def is_a(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if is_a(GatedRepoError):  # before RepositoryNotFoundError, of which it is a kind
        return (
            f"{name!r} is gated: accept its terms on https://huggingface.co/{place}{plain}, then run `hf auth login` "
            "with a token of that account"
        )
    if is_a(RevisionNotFoundError):
        return f"{name!r} has no such revision on the hub; check the branch, tag or commit on its page"
    if is_a(RepositoryNotFoundError):
        return (
            f"there is no {what} {name!r} on the hub that you may see; check the spelling, or run `hf auth login` "
            "if it is private"
        )
    if is_a(HFValidationError):
        return f"{name!r} is neither a folder nor a name on the hub (name or owner/name); check the spelling"
    no_answer = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TransportError)
    if is_a(*no_answer) or "couldn't connect to" in str(error):
        download = f"hf download {plain}" + (f" --revision {revision}" if revision else "")
        return (
            f"{name!r} is no folder here, is not in the cache of the hub, and the hub cannot be reached; check the "
            f"spelling and the network (HF_HUB_OFFLINE forbids it), or run `{download}` where there is one"
        )
    return None


def _of_the_files(kind: Kind, name: str, error: Exception) -> str | None:
    text = str(error)
    if "contains custom code" in text or "trust_remote_code" in text:
        return (
            f"{name!r} needs Python code of its own repository (`auto_map` in its config), which is never run here; "
            "give a model of an architecture that transformers has"
        )
    if isinstance(error, ImportError):
        return (
            f"the {kind} {name!r} needs a package that is not installed ({in_one_line(error)}); install it, or give a "
            "model that does without"
        )
    if isinstance(error, UnpicklingError) or "PytorchStreamReader" in text:
        return f"the weights of {name!r} are damaged, or hold more than tensors; download or save them again"
    if "Padding_idx must be within" in text:
        return (
            f"`pad_token_id` in config.json of {name!r} is no row of the model's embedding; set it to the pad token of "
            "its tokenizer, or to null"
        )
    if "ignore_mismatched_sizes" in text:
        return f"the weights of {name!r} have other shapes than its config.json says; give the two that belong together"
    if "untagged enum" in text:  # how the tokenizers library says that a file has a part unknown to it
        return (
            f"tokenizer.json of {name!r} has a part that the installed tokenizers package does not know; "
            "upgrade tokenizers and transformers, or save the tokenizer with the installed versions"
        )
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, in turn."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def in_one_line(error: Exception) -> str:
    """The first line of its text; of an error that announces a reason, the reason too."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    shown = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    if len(shown) > _LONG:
        shown = shown.partition(". ")[0]
    if isinstance(error, KeyError | ArithmeticError | IndexError):  # their text alone says nothing
        shown = f"{type(error).__name__}: {shown}"
    return shown
