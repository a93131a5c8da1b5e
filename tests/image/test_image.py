"""No Docker engine runs here: the image's properties are read, and its install steps run in a folder of their own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from syncer.settings import settings
from tests.cli.conftest import Folder
from tests.docs.test_docs import BLOCK, REPOSITORY, TEXTS
from tests.image.dockerfile import Stage, read
from tests.service.conftest import wait_until

ARGUMENTS, (BUILD, FINAL) = read(REPOSITORY / "Dockerfile")

#: For Compose and for Kubernetes.
EXAMPLES = [block for language, block in BLOCK.findall(TEXTS["production.md"]) if language == "yaml"]

#: Instructions that a builder knows.
KNOWN = {"ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
KNOWN |= {"ENTRYPOINT", "CMD"}

#: A registry's mirror may have a certificate that only the system knows.
UV = {"UV_SYSTEM_CERTS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the build stage makes, below a folder in place of the root."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "opt/syncer/bin/python"

    def environment(self, **added: str) -> dict[str, str]:
        """Of a container, as far as it can be one here."""
        kept = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
        return kept | {"PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(self.root / "tmp"), **added}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The build stage's steps, run one after the other."""
    # Not below pytest's folder: another user cannot enter it.
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    subprocess.run([sys.executable, "-m", "venv", root / "usr"], check=True)
    for instruction in BUILD.instructions:
        if instruction.word == "COPY":
            _copy(instruction.rest, root)
        elif instruction.word == "RUN":
            command = re.sub(r"(?<![\w.])/(src|opt)\b", rf"{root}/\1", instruction.rest)
            # Without the extras: that they can be installed is what the tests themselves show.
            env = os.environ | UV | {"PATH": f"{root}/usr/bin:{os.environ['PATH']}", "EXTRAS": ""}
            env.pop("PYTHONPATH", None)
            ran = subprocess.run(command, shell=True, env=env, capture_output=True, encoding="utf-8", check=False)
            assert ran.returncode == 0, f"{command}\n{ran.stderr}"
    yield Image(root=root)
    shutil.rmtree(root)


def _copy(rest: str, root: Path) -> None:
    *sources, target = shlex.split(rest)
    for source in sources:
        found, into = REPOSITORY / source, root / target.lstrip("/")
        if found.is_dir():
            shutil.copytree(found, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, into)


@pytest.mark.parametrize("stage", [BUILD, FINAL], ids=["build", "final"])
def test_stages_are_pinned_and_slim(stage: Stage) -> None:
    assert stage.image == "${PYTHON}"
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", ARGUMENTS["PYTHON"])
    assert {instruction.word for instruction in stage.instructions} <= KNOWN
    # A shell variable of a step would be another one in the next; each step ends on its own.
    assert not [one.rest for one in stage.all("RUN") if "apt-get" in one.rest or "curl" in one.rest]


def test_the_build_installs_what_is_locked_and_only_its_result_is_kept() -> None:
    install = BUILD.all("RUN")[-1].rest
    assert "--constraints /src/requirements.lock" in install
    assert '"/src${EXTRAS:+[$EXTRAS]}"' in install
    assert "--compile-bytecode" in install
    assert re.search(r"uv==\d+\.\d+\.\d+", BUILD.all("RUN")[0].rest)
    assert BUILD.one("ARG").rest == "EXTRAS=all"

    assert FINAL.one("COPY").rest == f"--from={BUILD.name} /opt/syncer /opt/syncer"
    assert not any("pip" in instruction.rest for instruction in FINAL.all("RUN"))


def test_it_runs_as_nobody_special_with_one_folder_to_write() -> None:
    words = [instruction.word for instruction in FINAL.instructions]
    assert FINAL.one("USER").rest == "10001:0"
    assert words.index("USER") > max(place for place, word in enumerate(words) if word in ("RUN", "COPY"))
    assert "--uid 10001 --gid 0" in FINAL.one("RUN").rest
    assert FINAL.one("VOLUME").exec_form == [FINAL.variables["SYNCER_STATE_DIR"]] == ["/state"]
    assert "-o 10001 -g 0 -m 0770 /state" in FINAL.one("RUN").rest
    assert "-o 10001 -g 0 -m 0775 /project" in FINAL.one("RUN").rest
    assert FINAL.variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert FINAL.variables["HOME"] == "/tmp"


def test_it_stops_as_the_service_expects_and_is_looked_at_without_other_programs() -> None:
    assert FINAL.one("STOPSIGNAL").rest == "SIGTERM"
    assert FINAL.one("ENTRYPOINT").exec_form == ["syncer"]
    assert FINAL.one("CMD").exec_form == ["serve"]
    assert FINAL.one("HEALTHCHECK").exec_form[0] == "python"
    assert FINAL.one("EXPOSE").rest == FINAL.variables["SYNCER_WEB__PORT"]


def test_its_variables_are_settings(tmp_path: Path) -> None:
    found = settings.load(tmp_path, FINAL.variables)

    assert found.state_dir == Path("/state")
    assert found.database_url.get_secret_value() == "sqlite:////state/runs.db"
    assert not found.web.is_loopback
    assert not found.web.is_guarded, "a password that everybody knows"


def test_what_is_copied_is_not_ignored() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    copied = {source for one in BUILD.all("COPY") for source in shlex.split(one.rest)[:-1]}

    assert "*" in lines
    assert copied == {line[1:] for line in lines if line.startswith("!")}


@pytest.mark.early
def test_it_installs_and_serves(image: Image, tmp_path: Path) -> None:
    version = subprocess.run(
        ["syncer", "--version"], env=image.environment(), capture_output=True, encoding="utf-8", check=True
    )
    assert version.stdout == f"syncer {metadata.version('syncer')}\n"
    packages = next(image.root.glob("opt/syncer/lib/python3*/site-packages"))
    for module in ("syncer/sync/runner", "connectors/__init__", "sqlalchemy/engine/base"):
        assert list(packages.glob(f"{Path(module).parent}/__pycache__/{Path(module).name}.*.pyc"))
    assert (packages / "syncer/docs/prometheus-rules.yml").exists()
    assert not (packages / "tests").exists()

    state, definitions = image.root / "state", image.root / "project/sync_definitions"
    definitions.mkdir(parents=True)
    state.mkdir()
    state.chmod(0o770)
    values = FINAL.variables | {"SYNCER_STATE_DIR": str(state), "SYNCER_WEB__HOST": "127.0.0.1"}
    del values["PATH"], values["HOME"]
    with _serving(image, definitions.parent, values | {"SYNCER_WEB__PORT": "0"}) as port:
        check = FINAL.one("HEALTHCHECK").exec_form
        proxied = image.environment(SYNCER_WEB__PORT=str(port), http_proxy="http://127.0.0.1:1")
        assert subprocess.run(check, env=proxied, capture_output=True, check=False).returncode == 0
        nobody = image.environment(SYNCER_WEB__PORT="1")
        assert subprocess.run(check, env=nobody, capture_output=True, check=False).returncode != 0
    assert not list(definitions.iterdir())
    _assert_that_only_what_is_locked_is_taken(image, tmp_path)


def test_the_compose_example_is_one(tmp_path: Path) -> None:
    compose = yaml.safe_load(EXAMPLES[0])
    service, database = compose["services"]["syncer"], compose["services"]["postgres"]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert [volume.split(":")[1] for volume in service["volumes"]] == ["/project/sync_definitions", "/state"]
    assert set(service["depends_on"]) == {"postgres"}
    assert {volume.split(":")[0] for volume in [service["volumes"][1], *database["volumes"]]} == set(compose["volumes"])
    named = {name: value for name, value in service["environment"].items() if name.startswith("SYNCER_")}
    assert set(service["secrets"]) | set(database["secrets"]) == set(compose["secrets"])
    assert service["environment"].keys() == named.keys()
    assert settings.load(tmp_path, _secrets_in(named, tmp_path)).web.is_guarded
    grace = settings.load(tmp_path, {}).grace
    assert int(service["stop_grace_period"].removesuffix("s")) > grace


def test_the_kubernetes_example_fits_the_image(tmp_path: Path) -> None:
    spec = yaml.safe_load(EXAMPLES[1])["spec"]
    (container,) = spec["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert mounted == {"state": "/state", "tmp": FINAL.variables["HOME"], "definitions": "/project/sync_definitions"}
    # The claim for the state is the set's.
    assert {volume["name"] for volume in spec["volumes"]} == mounted.keys() - {"state"}
    assert str(container["livenessProbe"]["httpGet"]["port"]) == FINAL.variables["SYNCER_WEB__PORT"]
    assert spec["terminationGracePeriodSeconds"] > settings.load(tmp_path, {}).grace


def test_run_log_and_store_may_share_a_database_as_in_the_example(tmp_path: Path, postgres_url: str) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"1": "free", "2": "pro"})
    folder.define("customers", "SELECT id, plan FROM people")
    env = {"SYNCER_DATABASE_URL": postgres_url, "SYNCER_STORES__DEFAULT__URL": postgres_url}

    assert folder.syncer("run", "--all", env=env).code == 0
    assert folder.syncer("runs", "--json", env=env).objects[0]["accepted"] == 2
    assert folder.syncer("show", "person", "1", env=env).code == 0


def _secrets_in(named: dict[str, Any], folder: Path) -> dict[str, str]:
    """The settings, with files of this test in place of those that the example mounts."""
    found = {}
    for name, value in named.items():
        if name.endswith("_FILE"):
            assert value.startswith("/run/secrets/")
            secret = folder / Path(value).name
            secret.write_text("postgresql://ann:secret@postgres/syncer" if "URL" in name else "a long password")
            value = str(secret)
        found[name] = str(value)
    return found


@contextmanager
def _serving(image: Image, folder: Path, values: dict[str, str]) -> Iterator[int]:
    """Serve as any user of group 0; as this one if only root may start others, or may read Python."""
    python = image.python.resolve()
    is_open = all(path.stat().st_mode & 0o001 for path in (python, *python.parents))
    user = 1_000_650_000 if os.geteuid() == 0 and is_open else None
    process = subprocess.Popen(
        [*FINAL.one("ENTRYPOINT").exec_form, *FINAL.one("CMD").exec_form],
        cwd=folder,
        env=image.environment(**values),
        stderr=subprocess.PIPE,
        user=user,
        group=None if user is None else 0,
        extra_groups=None if user is None else [],
    )
    try:
        yield wait_until(lambda: _port_of(process))
        process.terminate()
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.communicate()


def _port_of(process: subprocess.Popen[bytes]) -> int | None:
    assert process.poll() is None, process.communicate()[1].decode()
    listening = [one for one in psutil.Process(process.pid).net_connections() if one.status == psutil.CONN_LISTEN]
    return int(listening[0].laddr.port) if listening else None


def _assert_that_only_what_is_locked_is_taken(image: Image, folder: Path) -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    pinned = re.search(r"(?m)^annotated-doc==[^\\]*", lock)
    assert pinned is not None
    changed = folder / "changed.lock"
    changed.write_text(f"{pinned.group().strip()} --hash=sha256:{'0' * 64}\n")
    uv = [str(image.root / "usr/bin/uv"), "pip", "install", "--no-cache", "--target", str(folder / "into")]
    ran = subprocess.run(
        [*uv, "--constraints", str(changed), "annotated-doc"],
        env=os.environ | UV,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert ran.returncode != 0
    assert "Hash mismatch" in ran.stderr
