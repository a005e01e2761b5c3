"""Model files from a local path or the hub: pinned by revision, token from the environment, cached."""

from collections.abc import Callable, Sequence
from pathlib import Path

from emolake.errors import ConfigurationError


def model_folder(spec: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """Return a folder with a model's files: the path itself, or a snapshot of a hub repository.

    Pickled weights are fetched only from a repository that has no safetensors.

    Args:
        spec: a local folder, or `owner/name` on the hub.
        revision: branch, tag or commit of the hub repository; a commit pins it.
        patterns: names of the files that are needed, as globs.

    Raises:
        ConfigurationError: neither such a folder nor such a repository, or no right to it.
    """
    if Path(spec).is_dir():
        return Path(spec)
    _check_is_repository(spec, "folder")
    from huggingface_hub import snapshot_download

    def snapshot(wanted: Sequence[str]) -> Path:
        return Path(
            _download(spec, lambda: snapshot_download(spec, revision=revision, allow_patterns=list(wanted)))
        )

    safe = [pattern for pattern in patterns if not pattern.endswith(".bin")]
    folder = snapshot(safe)
    return folder if any(folder.glob("*.safetensors")) else snapshot(patterns)


def model_file(spec: str, revision: str | None) -> Path:
    """Return a model's file: the path itself, or `owner/name/path/in/repository` of the hub.

    Raises:
        ConfigurationError: neither such a file nor such a repository, or no right to it.
    """
    if Path(spec).is_file():
        return Path(spec)
    _check_is_repository(spec, "file")
    owner, name, path = spec.split("/", 2) if spec.count("/") > 1 else ("", "", "")
    if not path:
        raise ConfigurationError(f"{spec!r} is neither a file nor owner/name/file on the hub; correct it")
    from huggingface_hub import hf_hub_download

    return Path(_download(spec, lambda: hf_hub_download(f"{owner}/{name}", path, revision=revision)))


def _download(spec: str, download: Callable[[], str]) -> str:
    from huggingface_hub import errors

    try:
        return download()
    except errors.GatedRepoError as error:
        raise ConfigurationError(
            f"{spec} is gated: accept its licence on its page of the hub, and set HF_TOKEN to a token of that account"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigurationError(f"{spec} has no such revision; correct revision") from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigurationError(
            f"{spec} is not on the hub, or is private; correct it, or set HF_TOKEN to a token that may read it"
        ) from error
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, errors.HFValidationError, OSError) as error:
        raise ConfigurationError(
            f"{spec} is neither a local path nor in the cache, and cannot be fetched from the hub "
            f"({type(error).__name__}); correct it, or download it and give its folder"
        ) from error


def _check_is_repository(spec: str, kind: str) -> None:
    if spec.startswith((".", "/", "~")) or "/" not in spec:
        raise ConfigurationError(
            f"there is no {kind} {spec}; correct the path, or give owner/name on the hub"
        )
