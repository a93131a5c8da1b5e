"""The generated parts of the manual, made from the code that defines what they list."""

from __future__ import annotations

import enum
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperOption

from syncer.cli import PARSER
from syncer.cli.exit_codes import MEANINGS as CODES
from syncer.definitions.fields import FIELDS, default_of
from syncer.docs.topics import FOLDER
from syncer.model.duplicates import DUPLICATES
from syncer.service.metrics import ServiceCollector
from syncer.service.queue_metrics import HELP
from syncer.settings import registry, settings
from syncer.settings.registry import StoreSettings
from syncer.settings.service import SECTIONS, GroupSettings, OidcSettings, PersonSettings, TokenSettings
from syncer.state.alerts import Alert
from syncer.web import schemas, worker_schemas
from syncer.web.api.documents import PATH
from tests.cli import forked
from tests.docs.json_fields import MEANINGS as JSON_FIELDS
from tests.web.conftest import Served, small_site

_PART = re.compile(r"(?ms)^<!-- generated: ([\w -]+) -->\n.*?^<!-- end -->$")

#: The files that a command of each kind of output is tried on, and its arguments.
_WITH_JSON = {
    "run": ["run", "customers"],
    "runs": ["runs", "--limit", "1"],
    "plan": ["plan", "customers", "--save"],
    "plans": ["plans"],
    "verify": ["verify", "customers"],
    "rejected": ["rejected", "customers"],
    "list": ["list"],
    "validate": ["validate"],
    "show": ["show", "person", "1"],
    "explain": ["explain", "person", "1"],
    "connections": ["connections"],
    "cancel": ["cancel", "customers"],
    "pause": ["pause", "customers"],
    "resume": ["resume", "customers"],
    "reset": ["reset", "customers", "--yes"],
}


def updated(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with its generated parts made again."""
    return _PART.sub(lambda found: f"<!-- generated: {found[1]} -->\n{parts[found[1]]()}\n<!-- end -->", text)


def pages() -> list[Path]:
    """The pages with generated parts."""
    return [path for path in sorted(FOLDER.glob("*.md")) if _PART.search(path.read_text())]


@contextmanager
def parts() -> Iterator[Mapping[str, Callable[[], str]]]:
    """What makes each part, over a service that runs until the block ends."""
    with TemporaryDirectory() as folder, small_site(Path(folder)).served() as served:
        yield {
            "header-fields": header_fields,
            "commands": commands,
            "exit-codes": lambda: table(("code", "meaning"), CODES.items()),
            "json-fields": json_fields,
            "settings": all_settings,
            **{
                f"settings {name}": partial(_options, name)
                for name in ("snowflake", "bigquery", "redshift", "customerio", "sqlite")
            },
            "metrics": lambda: metrics(served),
            "requests": lambda: requests(served.client().get(PATH).json()),
            "answers": answers,
        }


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, with a blank line around it."""
    lines = [headings, ["---"] * len(headings), *rows]
    return (
        "\n"
        + "\n".join("|".join(["", *(f" {cell} " for cell in line), ""]) for line in lines).replace("| --- ", "|---")
        + "\n"
    )


def header_fields() -> str:
    return table(
        ("field", "meaning", "default"),
        [(f"`{name}`", field.description, default_of(field)) for name, field in FIELDS.items()],
    )


def commands() -> str:
    group: Any = PARSER
    found = [
        (f"{name} {inner}".strip(), command)
        for name, outer in group.commands.items()
        for inner, command in getattr(outer, "commands", {"": outer}).items()
    ]
    overview = table(
        ("command", "does"),
        [(f"`{_usage(name, command)}`", command.help.partition("\n")[0].removesuffix(".")) for name, command in found],
    )
    options: dict[tuple[str, str], list[str]] = {}
    for name, command in found:
        for option in command.params:
            if isinstance(option, TyperOption):
                value = "" if option.is_flag else f" {option.metavar}"
                said = (f"`{', '.join(option.opts)}{value}`".replace("|", "\\|"), str(option.help))
                options.setdefault(said, []).append(f"`{name}`")
    rows = [(option, ", ".join(of), does) for (option, does), of in options.items()]
    return f"{overview}\n{table(('option', 'of', 'does'), rows)}"


def _usage(name: str, command: Any) -> str:
    words = command.collect_usage_pieces(None)
    return " ".join(["syncer", name, *words[1:]])


def json_fields() -> str:
    with TemporaryDirectory() as folder:
        found = {name: _printed(Path(folder), arguments) for name, arguments in _WITH_JSON.items()}
    about_row = ["run_id", "sync", "status", "error", "hint", "file", "line", "file_changed", "suspects"]
    found["explain-error"] = about_row
    found["duplicates"] = [*DUPLICATES.names, "by"]
    found["workers"] = ["worker", "host", "beat_at", "lives", "queues", "running"]
    found["alerts"] = [*(field.name for field in fields(Alert)), "muted_until", "target", "taken"]
    by_command = table(
        ("command", "fields"),
        [(f"`{name}`", ", ".join(f"`{field}`" for field in each)) for name, each in found.items()],
    )
    known = list(dict.fromkeys(field for each in found.values() for field in each))
    return f"{by_command}\n{table(('field', 'meaning'), [(f'`{name}`', JSON_FIELDS[name]) for name in known])}"


def _printed(folder: Path, arguments: Sequence[str]) -> list[str]:
    """The fields of the first line that a command prints, in a folder with an accepted and a rejected row."""
    definitions = folder / "sync_definitions"
    if not definitions.exists():
        (definitions / "sample_data").mkdir(parents=True)
        (definitions / "sample_data/people.csv").write_text("id,plan\n1,pro\n,pro\n")
        header = "/* sync\nentity: person\nperson: {id: id}\n*/\n"
        (definitions / "customers.sql").write_text(f"{header}SELECT id, plan FROM people\n")
        shutil.copy(definitions / "customers.sql", definitions / "no name.sql")
    ran = forked.run(*arguments, "--json", folder=folder, environment={"PATH": os.environ["PATH"]})
    return list(json.loads(ran.out.partition("\n")[0]))


def all_settings() -> str:
    rows = []
    for name, field in settings.Settings.model_fields.items():
        prefix = f"SYNCER_{name.upper()}"
        if name in SECTIONS:
            rows += _settings_rows(prefix, SECTIONS[name])
        elif name in ("warehouses", "stores"):
            rows += [(f"`{prefix}__<NAME>__URL`", field.description, "")]
            if name == "stores":
                identity = StoreSettings.model_fields["identity"]
                rows += [(f"`{prefix}__<NAME>__IDENTITY`", identity.description, _shown(identity))]
        else:
            rows.append((f"`{prefix}{'__<NAME>' if name == 'vars' else ''}`", field.description, _shown(field)))
    return table(("setting", "meaning", "default"), rows)


def _options(scheme: str) -> str:
    """The settings beside the URL of a connection."""
    group, registered = (
        ("STORES", registry.stores()) if scheme in registry.stores() else ("WAREHOUSES", registry.warehouses())
    )
    rows = _settings_rows(f"SYNCER_{group}__<NAME>", registered[scheme].options)
    return table(("setting", "meaning", "default"), rows)


def _settings_rows(prefix: str, model: type[BaseModel]) -> list[tuple[str, str | None, str]]:
    found = []
    for name, field in model.model_fields.items():
        if name in ("tokens", "people"):
            of_one = TokenSettings if name == "tokens" else PersonSettings
            found += _settings_rows(f"{prefix}__{name.upper()}__<NAME>", of_one)
        elif name == "owners":
            found.append((f"`{prefix}__OWNERS__<OWNER>`", field.description, ""))
        elif name in ("groups", "oidc"):
            found += _settings_rows(f"{prefix}__{name.upper()}", GroupSettings if name == "groups" else OidcSettings)
        else:
            found.append((f"`{prefix}__{name.upper()}`", field.description, _shown(field)))
    return found


def _shown(field: FieldInfo) -> str:
    match None if field.is_required() else field.default:
        case None | dict() | list():
            return ""
        case enum.Enum() as value:
            return f"`{value.value}`"
        case float() as share:
            return f"`{share:.0%}`"
        case value:
            return f"`{value}`"


def metrics(served: Served) -> str:
    rows = []
    for metric in ServiceCollector(served.service).collect():
        of_samples = dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le")
        labels = getattr(metric, "_labelnames", ()) or of_samples
        suffix = "_total" if metric.type == "counter" else ""
        rows.append((f"`{metric.name}{suffix}`", ", ".join(f"`{label}`" for label in labels), metric.documentation))
    # A service that makes its own runs does not tell them.
    rows += [(f"`{name}`", "".join(f"`{label}`" for label in labels), said) for name, (said, labels) in HELP.items()]
    return table(("metric", "labels", "meaning"), sorted(rows))


def requests(document: Mapping[str, Any]) -> str:
    return table(
        ("request", "does"),
        [
            (f"`{method.upper()} {path.removeprefix('/api/v1')}`", operation["description"].partition("\n")[0])
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ],
    )


def answers() -> str:
    shown = []
    modules = (schemas, worker_schemas)
    for name, model in [found for module in modules for found in vars(module).items()]:
        is_answer = isinstance(model, type) and issubclass(model, BaseModel)
        if is_answer and model.__module__ in [module.__name__ for module in modules] and not name.endswith("Page"):
            inherited = "" if model.__base__ is BaseModel else f" Everything in `{model.__base__.__name__}`, and:"
            rows = [
                (f"`{field}`", model.model_fields[field].description or "")
                for field in model.__annotations__
                if field != "model_config"
            ]
            shown.append(f"\n### {name}\n\n{model.__doc__}{inherited}\n{table(('field', 'meaning'), rows)}")
    return "\n".join(shown)
