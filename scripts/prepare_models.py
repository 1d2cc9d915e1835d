"""Fetches models on a machine with internet and packs them for one without: `python -m scripts.prepare_models -h`.

Everything lands in one directory, `<directory>/<org>/<name>/`, whichever hub it came from, beside a SHA256SUMS that
`sha256sum -c` and `--check` read. An interrupted download goes on where it stopped. The archive unpacks beside
docker-compose.yml, which mounts `models/modelscope`.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runners import catalog, checksums, store
from runners.catalog import PROJECT_ROOT
from runners.settings import RunnerSettings
from service.settings import describe_problems

DEFAULT_DIRECTORY = PROJECT_ROOT / "models" / "modelscope"
SUMS = "SHA256SUMS"
_TRIES = 3
_PLACE_IN_ARCHIVE = "models/modelscope"

Fetch = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True)
class Repository:
    """Names a hub repository that models need.

    Attributes:
        name: The hub's name for it.
        size_mb: About how large it is.
        models: The ids of the models that need it.
    """

    name: str
    size_mb: int
    models: tuple[str, ...]


def plan(model_ids: Iterable[str]) -> list[Repository]:
    """Lists the repositories of some models, each once."""
    found: dict[str, Repository] = {}
    for model_id in model_ids:
        for part in catalog.models()[model_id].parts.values():
            if part.repository:
                before = found.get(part.repository)
                models = (*before.models, model_id) if before else (model_id,)
                found[part.repository] = Repository(part.repository, part.size_mb, tuple(dict.fromkeys(models)))
    return list(found.values())


def from_modelscope(repository: str, directory: Path) -> None:
    """Fetches a repository of ModelScope into a directory."""
    from modelscope import snapshot_download

    snapshot_download(repository, local_dir=str(directory))


def from_hugging_face(repository: str, directory: Path) -> None:
    """Fetches a repository of Hugging Face into a directory."""
    from huggingface_hub import snapshot_download

    snapshot_download(repository, local_dir=directory)


HUBS: dict[str, Fetch] = {"modelscope": from_modelscope, "huggingface": from_hugging_face}


def read_sums(directory: Path) -> dict[str, str]:
    """Reads each file's digest, by its path below ``directory``, from SHA256SUMS; empty where there is none."""
    path = directory / SUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def write_sums(directory: Path, sums: dict[str, str]) -> None:
    """Writes SHA256SUMS into a directory."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    (directory / SUMS).write_text(lines, encoding="utf-8")


def sums_of(repository: str, sums: dict[str, str]) -> dict[str, str]:
    """Picks the part of SHA256SUMS that is about one repository, by path below the repository."""
    prefix = f"{repository}/"
    return {name.removeprefix(prefix): digest for name, digest in sums.items() if name.startswith(prefix)}


def download(repositories: Sequence[Repository], directory: Path, fetch: Fetch) -> None:
    """Fetches what ``directory`` does not hold whole yet.

    Raises:
        SystemExit: there is not enough space, or something could not be fetched; the message says what.
    """
    directory.mkdir(parents=True, exist_ok=True)
    missing = [r for r in repositories if not is_whole(r.name, directory)]
    needed, free = sum(r.size_mb for r in missing), shutil.disk_usage(directory).free // 2**20
    if needed * 1.1 > free:
        sys.exit(f"{needed} MB are to be fetched, and {directory} has {free} MB of free space.")
    for number, repository in enumerate(missing, 1):
        print(f"[{number}/{len(missing)}] {repository.name} (about {repository.size_mb} MB)", flush=True)
        _fetch(repository, directory / repository.name, fetch)
        # each at once, so that an interrupted run knows what it has
        found = checksums.of_directory(directory / repository.name)
        others = {k: v for k, v in read_sums(directory).items() if not k.startswith(f"{repository.name}/")}
        write_sums(directory, {**others, **{f"{repository.name}/{name}": digest for name, digest in found.items()}})


def _fetch(repository: Repository, target: Path, fetch: Fetch) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            fetch(repository.name, target)
            break
        except Exception as error:  # the clients' own errors are of no common kind
            print(f"  try {attempt} of {_TRIES} failed: {error}", flush=True)
    else:
        sys.exit(f"{repository.name} could not be fetched. What has arrived is kept: run the same command again.")
    size_mb = sum(path.stat().st_size for path in checksums.files_of(target)) / 2**20
    if size_mb < repository.size_mb / 2:
        sys.exit(f"{target} has only {size_mb:.0f} MB of about {repository.size_mb}; run the same command again.")


def is_whole(repository: str, directory: Path) -> bool:
    """Says whether a repository was fetched to its end: SHA256SUMS has it, and each of its files is there."""
    names = sums_of(repository, read_sums(directory))
    return bool(names) and all((directory / repository / name).is_file() for name in names)


def pack(repositories: Sequence[Repository], directory: Path, archive: Path) -> None:
    """Writes repositories and their sums into one archive; the file appears when it is complete."""
    sums = read_sums(directory)
    wanted = {name: digest for name, digest in sums.items() if any(name.startswith(f"{r.name}/") for r in repositories)}
    unfinished = archive.with_name(f"{archive.name}.unfinished")
    # Weights hardly shrink: the fastest level.
    with tarfile.open(unfinished, "w:gz", compresslevel=1) as tar:
        for name in sorted(wanted):
            tar.add(directory / name, f"{_PLACE_IN_ARCHIVE}/{name}", filter=_anonymous)
        listing = unfinished.with_suffix(".sums")
        listing.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(wanted.items())), encoding="utf-8")
        tar.add(listing, f"{_PLACE_IN_ARCHIVE}/{SUMS}", filter=_anonymous)
        listing.unlink()
    unfinished.replace(archive)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Makes a member readable by the container's user, whoever unpacks it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def check(model_ids: Iterable[str], settings: RunnerSettings, directory: Path) -> Iterator[tuple[bool, str]]:
    """Says for each part of each model whether this machine has it whole, with a line about it."""
    offline = settings.model_copy(update={"allow_model_download": False})
    elsewhere = offline.model_copy(update={"modelscope_path": directory})
    for model_id in model_ids:
        model = catalog.models()[model_id]
        for name, part in model.parts.items():
            label = f"{model_id} {name}"
            path, hint = _find(model, name, offline), ""
            if path is None:
                path, hint = _find(model, name, elsewhere), f"; set MODELSCOPE_PATH={directory}"
            if path is None:
                needed = name not in catalog.OPTIONAL_PARTS
                yield not needed, f"{'LACKS' if needed else 'goes without'}  {label}: {part.name}, {part.size_mb} MB"
                continue
            root = path.parents[1]
            problems = checksums.wrong_files(path, sums_of(part.name, read_sums(root)))
            yield not problems, f"{'DAMAGED' if problems else 'has'}  {label}: {path}{hint}"
            yield from ((False, f"         {problem}") for problem in problems)


def _find(model: catalog.Model, part: str, settings: RunnerSettings) -> Path | None:
    try:
        return store.find_part(model, part, settings)
    except store.ModelFilesMissingError:
        return None


def overview(directory: Path) -> str:
    """Lists every model of the catalog that is on a hub: its size, and how much of it ``directory`` has."""
    lines = []
    for number, model_id in enumerate(on_hubs(), 1):
        repositories = plan([model_id])
        whole = sum(is_whole(r.name, directory) for r in repositories)
        size_gb = sum(r.size_mb for r in repositories) / 1000
        lines.append(f"{number:>3}  {model_id:<18} {size_gb:5.1f} GB   {whole} of {len(repositories)} parts here")
    return "\n".join(lines)


def on_hubs() -> list[str]:
    """Lists the ids of models that have something to fetch."""
    return [model.id for model in catalog.models().values() if plan([model.id])]


def ask(directory: Path, read: Callable[[str], str] = input) -> list[str]:
    """Lets a person choose models from the overview."""
    known = on_hubs()
    print(overview(directory))
    while True:
        answer = read("Which ones? Numbers or names, separated by commas; nothing to stop: ").strip()
        names = [known[int(a) - 1] if a.isdigit() and 0 < int(a) <= len(known) else a for a in _split(answer)]
        unknown = [name for name in names if name not in known]
        if not unknown:
            return names
        print(f"There is no {', '.join(unknown)} in the list.")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Lists, checks, or fetches and packs models."""
    parser = argparse.ArgumentParser(prog="prepare_models", description=__doc__)
    parser.add_argument("models", nargs="*", help="model ids, or `all`; nothing: choose from a list")
    parser.add_argument("--list", action="store_true", help="what can be fetched, how large, and what is here")
    parser.add_argument("--check", action="store_true", help="what this machine has and lacks; exit code 1 if anything")
    parser.add_argument("--hub", choices=HUBS, default="modelscope", help="where to fetch from (default: modelscope)")
    parser.add_argument(
        "--directory", type=Path, default=DEFAULT_DIRECTORY, help="where to (default: models/modelscope)"
    )
    parser.add_argument("--no-pack", action="store_true", help="fetch only, make no archive")
    options = parser.parse_args(arguments)
    if options.list:
        print(overview(options.directory))
        return
    names = on_hubs() if options.models == ["all"] else [n for given in options.models for n in _split(given)]
    unknown = [name for name in names if name not in catalog.models()]
    if unknown:
        sys.exit(f"no such model: {', '.join(unknown)}; known: {', '.join(catalog.models())}")
    if options.check:
        sys.exit(_report_check(names, options.directory))
    if not names:
        if not sys.stdin.isatty():
            parser.error("name the models (there is no terminal to ask on)")
        names = ask(options.directory)
    if names:
        _prepare(names, options.directory, HUBS[options.hub], packing=not options.no_pack)


def _report_check(names: Sequence[str], directory: Path) -> int:
    try:
        settings = RunnerSettings()
    except ValidationError as error:
        sys.exit(f"wrong setting: {describe_problems(error)}")
    lines = list(check(names or settings.enabled_models, settings, directory))
    print("\n".join(line for _, line in lines))
    return 0 if all(fine for fine, _ in lines) else 1


def _prepare(names: Sequence[str], directory: Path, fetch: Fetch, *, packing: bool) -> None:
    repositories = plan(names)
    download(repositories, directory, fetch)
    print(f"{', '.join(names)}: complete in {directory}")
    if packing:
        archive = Path(f"asr-models-{datetime.date.today():%Y%m%d}.tar.gz").absolute()
        pack(repositories, directory, archive)
        print(
            f"Packed {archive} ({archive.stat().st_size / 2**20:.0f} MB). On the other machine, beside "
            f"docker-compose.yml:\n  tar -xzf {archive.name}\n  docker compose up -d"
        )


if __name__ == "__main__":
    main()
