"""Generates what is made from `protos/` and committed: `make proto`. `make check` proves that it was done.

    python -m scripts.generate             write the files
    python -m scripts.generate --check     only compare, and fail when a committed file is not up to date
    python -m scripts.generate --baseline  accept the protos as what `buf breaking` compares with

| committed                       | what it is                                                            |
| ------------------------------- | --------------------------------------------------------------------- |
| `protos/third_party/google`     | the googleapis files that the protos import, from the pinned package  |
| `clients/python/{quota/v1,buf}` | Python modules and their types, for synchronous and asynchronous gRPC |
| `clients/proto`                 | the protos without validation rules, for other languages' generators  |
| `clients/quota.protoset`        | the same as a descriptor set, for grpcurl and gateways                |
| `quota_service/edge/envoy/api`  | Envoy's messages, apart from ours, as modules of a package of their own |
"""

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from scripts.strip_validation import strip_validation

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
BASELINE = PROTOS / "baseline.binpb"
BIN = Path(sys.executable).parent

# Folders and files that belong to this script alone: whatever else is found in them is stale.
OUTPUTS = (
    "protos/third_party/google",
    "clients/python/quota/v1",
    "clients/python/buf/validate",
    "clients/proto",
    "clients/quota.protoset",
    "quota_service/edge/envoy/api",
)

ENVOY_API = "quota_service.edge.envoy.api"
ENVOY = (
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/ext_proc/v3/external_processor.proto",
)

_IMPORT = re.compile(r'^import (?:public )?"([^"]+)";', re.MULTILINE)
_ENVOY_MODULE = re.compile(r"^(from |import )(envoy|udpa|validate|xds)\b", re.MULTILINE)


def main() -> None:
    """Write, compare or accept, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare with the committed files")
    parser.add_argument("--baseline", action="store_true", help="accept the protos for `buf breaking`")
    arguments = parser.parse_args()
    if arguments.baseline:
        _run([BIN / "buf", "build", "protos", "--exclude-source-info", "--output", BASELINE])
        return
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        generate(staged)
        if arguments.check:
            _report(sorted(_differences(staged)))
        else:
            _install(staged)


def generate(out: Path) -> None:
    """Write every output below `out`, laid out as in the repository."""
    own = sorted(PROTOS.glob("quota/**/*.proto"))
    envoy = _with_imports(ENVOY)
    google = out / "protos/third_party/google"
    _copy_imported_google_files([*own, *envoy], google)
    includes = [google.parent, PROTOS, PROTOS / "third_party"]
    _generate_python(own, includes, out / "clients/python")
    _generate_envoy(envoy, includes, out / "quota_service/edge/envoy/api")
    _copy_without_validation(own, out / "clients/proto")
    _build_protoset(out / "clients/proto", out / "clients/quota.protoset")


def _copy_imported_google_files(protos: list[Path], target: Path) -> None:
    """Copy what the protos import from googleapis, and what that imports. google/protobuf is built in."""
    packages = _folder_of("google.api").parent.parent
    waiting, seen = list(protos), set[str]()
    while waiting:
        names = set(_IMPORT.findall(waiting.pop().read_text()))
        for name in sorted(names - seen):
            if name.startswith("google/") and not name.startswith("google/protobuf/"):
                destination = target.parent / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(packages / name, destination)
                waiting.append(destination)
        seen |= names


def _generate_python(protos: list[Path], includes: list[Path], out: Path) -> None:
    out.mkdir(parents=True)
    # googleapis has a package with its modules; protovalidate's rules have none for google.protobuf.
    _protoc(
        includes,
        [*_names(protos), "buf/validate/validate.proto"],
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
    )
    with_services = [proto for proto in protos if re.search(r"^service ", proto.read_text(), re.MULTILINE)]
    _protoc(includes, _names(with_services), f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")
    (out / "quota/v1/__init__.py").write_text(
        '"""Generated from protos/quota/v1: messages (`*_pb2`) and stubs (`*_pb2_grpc`)."""\n'
    )


def _with_imports(names: tuple[str, ...]) -> list[Path]:
    """Protos of others, and what they import, but for Google's."""
    waiting, found = list(names), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        path = PROTOS / "third_party" / name
        if name not in found and not name.startswith("google/"):
            found[name] = path
            waiting += _IMPORT.findall(path.read_text())
    return sorted(found.values())


def _generate_envoy(protos: list[Path], includes: list[Path], out: Path) -> None:
    """Messages only, moved into a package of ours: another package has the name `envoy`."""
    out.mkdir(parents=True)
    names = [str(proto.relative_to(PROTOS / "third_party")) for proto in protos]
    _protoc(includes, names, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    for module in (*out.rglob("*.py"), *out.rglob("*.pyi")):
        module.write_text(_ENVOY_MODULE.sub(rf"\1{ENVOY_API}.\2", module.read_text()))
    for folder in (out, *(each for each in out.rglob("*") if each.is_dir())):
        (folder / "__init__.py").touch()


def _copy_without_validation(protos: list[Path], out: Path) -> None:
    for proto in protos:
        copy = out / proto.relative_to(PROTOS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(strip_validation(proto.read_text()))
    _copy_imported_google_files(protos, out / "google")


def _build_protoset(protos: Path, target: Path) -> None:
    names = sorted(str(proto.relative_to(protos)) for proto in protos.glob("quota/**/*.proto"))
    _protoc([protos], names, "--include_imports", f"--descriptor_set_out={target}")


def _protoc(includes: list[Path], names: list[str], *outputs: str) -> None:
    plugins = [f"--plugin={name}={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    paths = [f"--proto_path={path}" for path in (*includes, _folder_of("grpc_tools") / "_proto")]
    _run([sys.executable, "-m", "grpc_tools.protoc", *paths, *plugins, *outputs, *names])


def _names(protos: list[Path]) -> list[str]:
    return [str(proto.relative_to(PROTOS)) for proto in protos]


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


def _differences(staged: Path) -> Iterator[str]:
    """Committed paths that differ from the staged ones, are missing, or should not be there."""
    for output in OUTPUTS:
        fresh, committed = _files(staged, output), _files(ROOT, output)
        yield from fresh ^ committed
        yield from (
            name for name in fresh & committed if not filecmp.cmp(staged / name, ROOT / name, shallow=False)
        )


def _files(root: Path, output: str) -> set[str]:
    path = root / output
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(root)) for file in files if "__pycache__" not in file.parts}


def _report(differing: list[str]) -> None:
    if differing:
        sys.exit("not up to date (run `make proto`):\n" + "\n".join(f"  {name}" for name in differing))


def _install(staged: Path) -> None:
    for output in OUTPUTS:
        target = ROOT / output
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged / output, target)


def _run(command: list[str | Path]) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command[:4]))} …")


if __name__ == "__main__":
    main()
