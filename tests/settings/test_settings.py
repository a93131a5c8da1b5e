from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from connectors.customerio.options import CustomerIOOptions, Via
from connectors.snowflake.options import SnowflakeOptions
from syncer.model.connectors import file_of, revealed
from syncer.model.errors import SettingsError
from syncer.model.types import Identity
from syncer.settings import registry
from syncer.settings.containers import memory_size, set_by_cluster
from syncer.settings.secrets import query_variables
from syncer.settings.settings import Settings, load
from syncer.settings.state_modes import make_state_dir


def problems(folder: Path, environment: dict[str, str]) -> list[str]:
    """The lines of the error, none of which may hold the word that stands for a secret."""
    with pytest.raises(SettingsError) as caught:
        load(folder, environment)
    assert "hush" not in repr(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None
    return caught.value.message.split("\n")


def urls(found: Settings) -> dict[str, str]:
    return {name: one.url.get_secret_value() for name, one in {**found.warehouses, **found.stores}.items()}


def test_without_any_setting_the_examples_go_to_the_embedded_store(tmp_path: Path) -> None:
    found = load(tmp_path, {"PATH": "/bin"})

    assert found.definitions_dir == tmp_path / "sync_definitions"
    assert found.state_dir == tmp_path / ".syncer"
    assert found.database_url.get_secret_value() == f"sqlite:///{tmp_path}/.syncer/runs.db"
    assert found.warehouses["default"].url.get_secret_value() == f"duckdb:///{tmp_path}/sync_definitions/sample_data"
    assert found.stores["default"].url.get_secret_value() == f"sqlite:///{tmp_path}/.syncer/profiles.db"
    assert found.stores["default"].identity is Identity.ID
    assert found.vars == {}
    assert query_variables(found).readable() == {}


def test_the_environment_wins_over_dotenv_and_dotenv_over_toml(tmp_path: Path) -> None:
    (tmp_path / "syncer.toml").write_text(
        'definitions_dir = "toml"\nstate_dir = "toml"\n[stores.crm]\nurl = "sqlite:///toml.db"\nidentity = "email"\n'
    )
    (tmp_path / ".env").write_text("SYNCER_STATE_DIR=dotenv\nexport SYNCER_STORES__CRM__URL='sqlite:///dotenv.db'\n")

    found = load(tmp_path, {"SYNCER_STORES__CRM__URL": "sqlite:////environment.db"})

    assert found.definitions_dir == tmp_path / "toml"
    assert found.state_dir == tmp_path / "dotenv"
    assert found.stores["crm"].url.get_secret_value() == "sqlite:////environment.db"
    assert found.stores["crm"].identity is Identity.EMAIL


def test_only_the_given_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCER_STATE_DIR", "elsewhere")
    monkeypatch.setenv("X", "elsewhere")
    (tmp_path / ".env").write_text("SYNCER_VARS__X=${X}\n")

    found = load(tmp_path, {})

    assert found.state_dir == tmp_path / ".syncer"
    assert found.vars == {"x": "${X}"}


def test_other_connections_leave_the_default_ones(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        {
            "SYNCER_WAREHOUSES__Shop-2__URL": "PostgreSQL://me@host/db",
            "SYNCER_STORES__DEFAULT__IDENTITY": "id_or_email",
            "SYNCER_STATE_DIR": "/var/lib/syncer",
        },
    )

    assert set(found.warehouses) == {"default", "shop-2"}
    assert found.warehouses["shop-2"].url.get_secret_value() == "postgresql://me@host/db"
    assert found.stores["default"].url.get_secret_value() == "sqlite:////var/lib/syncer/profiles.db"
    assert found.stores["default"].identity is Identity.ID_OR_EMAIL


def test_variables_of_queries_have_names_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "syncer.toml").write_text('[vars]\ndays = 30\nCountry = "FR"\n')

    found = load(
        tmp_path, {"SYNCER_VARS__COUNTRY": "DE", "SYNCER_VARS__EMPTY": "", "SYNCER_VARS__EXPORT_FILE": "a.csv"}
    )

    assert found.vars == {"days": "30", "country": "DE", "empty": "", "export_file": "a.csv"}


def test_the_environment_of_queries_has_what_dotenv_adds(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REGION=eu\nHOME=/dotenv\n# a comment\n\nEMPTY=\n")

    found = load(tmp_path, {"HOME": "/home/me", "SYNCER_QUERY_VARIABLES": "REGION,HOME EMPTY"})

    assert query_variables(found).readable() == {"REGION": "eu", "HOME": "/home/me", "EMPTY": ""}


def test_queries_read_only_the_variables_that_are_named(tmp_path: Path) -> None:
    secret = "canary-password-of-the-warehouse"
    found = load(
        tmp_path,
        {
            "SYNCER_QUERY_VARIABLES": "REGION, SHOP_*, P*, S*",
            "SYNCER_WEB__PASSWORD": "canary-password-of-the-page",
            "SYNCER_WAREHOUSES__CRM__URL": f"postgresql://me:{secret}@host/db",
            "REGION": "eu",
            "REGIONS": "all",
            "SHOP_NAME": "north",
            "SHOP_DATABASE": f"postgresql://other:{secret}@host/db",
            "PGPASSWORD": "of-libpq",
            "SNOWFLAKE_PRIVATE_KEY": "of-the-driver",
            "PLACE": "here",
        },
    )

    assert query_variables(found).readable() == {"REGION": "eu", "SHOP_NAME": "north", "PLACE": "here"}
    assert secret not in repr(query_variables(found))


@pytest.mark.parametrize("name", ["SYNCER_WEB__PASSWORD", "syncer_*", "PGPASSWORD", "AWS_SESSION_TOKEN", "*", "a-b"])
def test_a_variable_that_no_query_may_read_cannot_be_named(tmp_path: Path, name: str) -> None:
    [problem] = problems(tmp_path, {"SYNCER_QUERY_VARIABLES": f"REGION,{name}"})

    assert problem.startswith("SYNCER_QUERY_VARIABLES: ")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SYNCER_STATE_DIR=dotenv\n")

    found = load(tmp_path, {"SYNCER_DATABASE_URL": "", "SYNCER_STATE_DIR": ""})

    assert found.database_url.get_secret_value() == f"sqlite:///{tmp_path}/dotenv/runs.db"


@pytest.mark.parametrize("service", ["SYNCER", "SYNCER_WEB", "SYNCER_DATABASE_URL", "SYNCER_STATE_2"])
def test_what_a_cluster_sets_for_a_service_is_no_setting(tmp_path: Path, service: str) -> None:
    of_cluster = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8765",
        "SERVICE_PORT_HTTP": "8765",
        "PORT": "tcp://10.0.0.1:8765",
        "PORT_8765_TCP": "tcp://10.0.0.1:8765",
        "PORT_8765_TCP_PROTO": "tcp",
        "PORT_8765_TCP_PORT": "8765",
        "PORT_8765_TCP_ADDR": "10.0.0.1",
    }

    variables = {f"{service}_{name}": value for name, value in of_cluster.items()}

    load(tmp_path, variables)

    assert set_by_cluster({"SYNCER_STATE_DIR": ".syncer", **variables}) == sorted(variables)


@pytest.mark.parametrize("name", ["SYNCER_WEB_PORT", "SYNCER_WEB_HOST", "SYNCER_WEB__SERVICE_HOST"])
def test_a_misspelled_setting_is_none_of_a_cluster(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(tmp_path, {name: "8080"})


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_secret_can_lie_in_a_file(tmp_path: Path, where: str) -> None:
    (tmp_path / "secret").write_text("postgresql://me:hush@host/db\n")
    variables = {
        "SYNCER_DATABASE_URL_FILE": "secret",
        "SYNCER_WAREHOUSES__DEFAULT__URL_FILE": str(tmp_path / "secret"),
        "SYNCER_STORES__CRM__URL_FILE": "secret",
    }
    if where == "dotenv":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    found = load(tmp_path, variables if where == "environment" else {})

    secret = "postgresql://me:hush@host/db"
    assert found.database_url.get_secret_value() == secret
    assert urls(found)["crm"] == found.warehouses["default"].url.get_secret_value() == secret


def test_a_file_in_the_environment_wins_over_the_url_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sqlite:////file.db")
    (tmp_path / ".env").write_text("SYNCER_STORES__CRM__URL=sqlite:////dotenv.db\n")

    assert urls(load(tmp_path, {"SYNCER_STORES__CRM__URL_FILE": "secret"}))["crm"] == "sqlite:////file.db"


def test_a_secret_file_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin1").write_bytes(b"postgresql://me:h\xfcsh@host/db")
    (tmp_path / "fine").write_text("sqlite:////x.db")

    assert problems(
        tmp_path,
        {
            "SYNCER_DATABASE_URL_FILE": "hush-is-not-there",
            "SYNCER_STORES__A__URL_FILE": "empty",
            "SYNCER_STORES__B__URL_FILE": "latin1",
            "SYNCER_STORES__C__URL_FILE": str(tmp_path),
            "SYNCER_STORES__D__URL_FILE": "hush\0",
            "SYNCER_STORES__E__URL_FILE": "fine",
            "SYNCER_STORES__E__URL": "sqlite:///hush",
        },
    ) == [
        "SYNCER_DATABASE_URL_FILE: the file it names does not exist",
        "SYNCER_STORES__A__URL_FILE: the file it names is empty",
        "SYNCER_STORES__B__URL_FILE: the file it names is not UTF-8 text",
        "SYNCER_STORES__C__URL_FILE: the file it names cannot be read: Is a directory",
        "SYNCER_STORES__D__URL_FILE: the file it names cannot be read: its name is not valid",
        "SYNCER_STORES__E__URL: is set beside SYNCER_STORES__E__URL_FILE; set only one of the two",
    ]


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n\nnot a setting\nSYNCER_STORES__C__IDENTITY=hush\n")
    (tmp_path / "syncer.toml").write_text(
        'colour = "hush"\n[warehouses]\nx = "hush"\n[stores.d]\nurl = 3\nidentty = "hush"\n[vars]\nflag = true\n'
    )

    assert problems(
        tmp_path,
        {
            "SYNCER_DATABASE_URL": "hush",
            "SYNCER_STORES": "hush",
            "SYNCER_VARS": "hush",
            "SYNCER_STORES__A": "hush",
            "SYNCER_STORES__B__URI": "postgresql://hush",
            "SYNCER_STORES__a.__URL": "sqlite:////x.db",
            "SYNCER_WAREHOUSE__DEFAULT__URL": "postgresql://hush",
            "SYNCER_STATE_DIR__URL": "hush",
            "SYNCER_XYZ": "hush",
        },
    ) == [
        ".env line 3: expected NAME=VALUE",
        "SYNCER_STORES: has no value itself; set SYNCER_STORES__<NAME>__URL",
        "SYNCER_VARS: has no value itself; set SYNCER_VARS__<NAME>",
        "SYNCER_WAREHOUSE__DEFAULT__URL: is not a setting; did you mean SYNCER_WAREHOUSES__DEFAULT__URL?",
        "SYNCER_STATE_DIR__URL: is not a setting; did you mean SYNCER_STATE_DIR?",
        "SYNCER_XYZ: is not a setting",
        "SYNCER_DATABASE_URL: is not a URL such as `postgresql://USER:PASSWORD@HOST/DATABASE`",
        "syncer.toml warehouses.x: is a group of settings, such as its `url`, and has no value itself",
        "syncer.toml stores.d.url: should be a valid string",
        "syncer.toml stores.d.identty: is not a setting; did you mean `identity`?",
        "SYNCER_STORES__C__URL: is not set",
        "SYNCER_STORES__C__IDENTITY in .env: should be 'id', 'email', 'id_or_email' or 'id_email_or_phone'",
        "SYNCER_STORES__A: is a group of settings, such as its `url`, and has no value itself",
        "SYNCER_STORES__B__URL: is not set",
        "SYNCER_STORES__B__URI: is not a setting; did you mean SYNCER_STORES__B__URL?",
        "SYNCER_STORES__a.__URL: a name is 1 to 63 of the characters `a-z 0-9 _ -` and starts with one of `a-z 0-9`",
        "syncer.toml vars.flag: should be a valid string",
        "syncer.toml colour: is not a setting",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"state_dir = hush\n", "syncer.toml: is not TOML: Invalid value (at line 1, column 13)"),
        (b"state_dir = 'h\xfcsh'\n", "syncer.toml: is not UTF-8 text"),
        (b"state_dir = ['hush']\n", "syncer.toml state_dir: "),
    ],
)
def test_a_toml_file_that_cannot_be_used_is_a_problem(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "syncer.toml").write_bytes(text)

    [problem] = problems(tmp_path, {})
    assert problem.startswith(message)


@pytest.mark.parametrize(
    "url",
    [
        "hush",
        "/hush/file.db",
        "sqlite:/hush",
        "://hush",
        "1sql://hush",
        "postgresql://me:hu sh@host/db",
        "postgresql://me:hush\n@host/db",
        "postgresql://me:hush@host:hush/db",
        "postgresql://me:hush/secret@host/db",
        "postgresql://me:hush#secret@host/db",
        "postgresql://me:hush?secret@host/db",
        "postgresql://[hush/db",
    ],
)
def test_what_is_no_url_is_a_problem_of_its_setting(tmp_path: Path, url: str) -> None:
    [problem] = problems(tmp_path, {"SYNCER_WAREHOUSES__DEFAULT__URL": url})

    assert problem.startswith("SYNCER_WAREHOUSES__DEFAULT__URL: ")


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("duckdb:///shop.duckdb", "duckdb:////project/shop.duckdb"),
        ("duckdb:///data/", "duckdb:////project/data"),
        ("duckdb:////data", "duckdb:////data"),
        ("duckdb:///:memory:", "duckdb:///:memory:"),
        ("sqlite+pysqlite:///a.db?timeout=3", "sqlite+pysqlite:////project/a.db?timeout=3"),
        ("postgresql:///shop", "postgresql:///shop"),
        ("postgresql://host/shop", "postgresql://host/shop"),
        ("customerio://eu", "customerio://eu"),
    ],
)
def test_the_path_of_a_file_starts_at_the_working_folder(url: str, whole: str) -> None:
    assert registry.beside(url, Path("/project")) == whole


@pytest.mark.parametrize("folder", ["/what?x", "/100%", "/a%20b", "/my data", "/a#b", "/ä[1]"])
@pytest.mark.parametrize(
    ("written", "path"),
    [("data/shop.db", "data/shop.db"), ("my%20data", "my data"), ("a%3Fb", "a?b"), ("x%2520", "x%20")],
)
def test_the_path_of_a_file_in_any_working_folder_is_decoded_once(folder: str, written: str, path: str) -> None:
    for scheme in ("duckdb", "sqlite"):
        whole = registry.beside(f"{scheme}:///{written}", Path(folder))

        assert registry.checked(whole) == whole
        assert file_of(whole) == Path(folder, path)
    # As the run log and warehouses of SQLAlchemy read it.
    assert make_url(whole).database == f"{folder}/{path}"


@pytest.mark.parametrize("state_dir", ["state?", "my state", "50%41", "a/b#c"])
def test_what_lies_in_the_state_folder_is_found_whatever_its_name(tmp_path: Path, state_dir: str) -> None:
    settings = load(tmp_path, {"SYNCER_STATE_DIR": state_dir})

    assert make_url(settings.database_url.get_secret_value()).database == str(tmp_path / state_dir / "runs.db")
    assert file_of(settings.stores["default"].url.get_secret_value()) == tmp_path / state_dir / "profiles.db"


@pytest.mark.parametrize("url", ["duckdb:///a%00b", "sqlite:///a%00b.db", "postgresql://u:a%00b@host/db"])
def test_a_url_with_an_encoded_nul_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, {"SYNCER_WAREHOUSES__DEFAULT__URL": url})

    assert "contains `%00`" in str(refused.value)


def test_a_file_that_cannot_be_looked_for_is_the_decoded_one() -> None:
    name = "a%20" * 100

    assert file_of(f"sqlite:///{name}") == Path("a " * 100)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@a:1,b:2/db?target_session_attrs=any",
        "postgresql://u:p@a,b/db",
        "postgres://u:p@[::1]:5432,[::2]:5433/db",
        "postgresql://a:5432,b:,c/db",
        "redshift://u:p@a:5439,b:5439/db",
        "postgresql:///db?host=/tmp,/var&port=1,2",
        "postgresql://%2Fvar%2Frun/db",
    ],
)
def test_a_url_of_postgresql_may_name_several_hosts(tmp_path: Path, url: str) -> None:
    settings = load(tmp_path, {"SYNCER_WAREHOUSES__DEFAULT__URL": url})

    assert settings.warehouses["default"].url.get_secret_value() == url
    assert ":p@" not in settings.warehouses["default"].shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hush@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:hu@sh@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host/db?sslmode=require", "postgresql://me@host/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=hush", "postgresql://host/db?user=me&password=***"),
        ("postgresql://host/db?options=x&sslPassword=hush&hush", "postgresql://host/db?options=x&sslPassword=***&***"),
        ("postgresql://me:12/hush@host/db", "postgresql://***"),
        ("postgresql://me:12#hush@host/db", "postgresql://***"),
        ("postgresql://me:12?hush@host/db", "postgresql://***"),
        (
            "snowflake://me:hush@account/db?warehouse=w&private_key=hush",
            "snowflake://me@account/db?warehouse=w&private_key=***",
        ),
        ("sqlite:////data/profiles.db", "sqlite:////data/profiles.db"),
        ("sqlite:///profiles.db", "sqlite:///profiles.db"),
    ],
)
def test_people_see_a_url_without_its_secrets(url: str, shown: str) -> None:
    assert registry.shown(url) == shown
    assert "hush" not in shown


def test_the_text_of_settings_holds_no_secret(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        {
            "SYNCER_DATABASE_URL": "postgresql://me:hush@host/db",
            "SYNCER_STORES__CRM__URL": "postgresql://me:hush@host/db",
            "SYNCER_VARS__TOKEN": "hush",
            "OTHER": "hush",
        },
    )

    assert "hush" not in repr(found) + str(found) + repr(found.stores["crm"]) + f"{found.stores}"
    assert found.stores["crm"].shown_url == "postgresql://me@host/db"


def test_any_field_of_a_connection_can_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text("email\n")

    found = load(tmp_path, {"SYNCER_STORES__DEFAULT__IDENTITY_FILE": "identity"})

    assert found.stores["default"].identity is Identity.EMAIL


def test_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    found = load(tmp_path, {"SYNCER_STATE_DIR": "a/b"})

    for _ in range(2):
        make_state_dir(found)
    assert found.state_dir.stat().st_mode & 0o777 == 0o700

    found.state_dir.chmod(0o755)
    make_state_dir(found)
    assert found.state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "message"), [("file", "is not a folder"), ("file/below", "is not a folder")])
def test_a_state_folder_that_is_something_else_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match=f"SYNCER_STATE_DIR: .*{name} {message}"):
        make_state_dir(load(tmp_path, {"SYNCER_STATE_DIR": name}))


def test_a_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = Path("/")
    if os.geteuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o755)
        os.chown(theirs, 65534, 65534)

    with pytest.raises(SettingsError, match="belongs to another user") as caught:
        make_state_dir(load(tmp_path, {"SYNCER_STATE_DIR": str(theirs)}))

    assert "SYNCER_STATE_DIR" in caught.value.hint
    assert theirs.stat().st_mode & 0o777 == 0o755


def test_a_state_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SYNCER_STATE_DIR: /proc/syncer cannot be created"):
        make_state_dir(load(tmp_path, {"SYNCER_STATE_DIR": "/proc/syncer"}))


def test_what_goes_beside_a_warehouses_url_is_a_secret_that_a_file_may_hold(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    settings = load(
        tmp_path,
        {
            "SYNCER_WAREHOUSES__CRM__URL": "snowflake://me@account/db/public",
            "SYNCER_WAREHOUSES__CRM__KEY_FILE": "key.pem",
            "SYNCER_WAREHOUSES__CRM__KEY_PASSPHRASE": "open sesame",
        },
    )

    options = settings.warehouses["crm"].options
    assert isinstance(options, SnowflakeOptions)
    assert revealed(options.key) == "-----BEGIN PRIVATE KEY-----"
    assert revealed(options.key_passphrase) == "open sesame"
    assert "sesame" not in f"{settings} {options}"


def test_what_a_warehouse_does_not_use_is_refused(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "SYNCER_WAREHOUSES__CRM__URL": "postgresql://me@host/db",
            "SYNCER_WAREHOUSES__CRM__MAXIMUM_BYTES_BILLED": "1000",
        },
    )

    assert found == ["SYNCER_WAREHOUSES__CRM__URL: `maximum_bytes_billed` is only for bigquery URLs"]


CUSTOMERIO = {
    "SYNCER_STORES__CRM__URL": "customerio://eu",
    "SYNCER_STORES__CRM__SITE_ID": "hush-1",
    "SYNCER_STORES__CRM__API_KEY": "hush-2",
}


def test_a_store_of_customerio_takes_its_settings_beside_the_url(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush-3\n")

    found = load(
        tmp_path,
        {
            **CUSTOMERIO,
            "SYNCER_STORES__CRM__APP_API_KEY_FILE": "key",
            "SYNCER_STORES__CRM__CDP_API_KEY": "hush-4",
            "SYNCER_STORES__CRM__TRACK_URL": "http://127.0.0.1:8080",
            "SYNCER_STORES__CRM__OBJECT_TYPES": '{"account": "1", "course": 2}',
            "SYNCER_STORES__CRM__REQUESTS_PER_SECOND": "50",
            "SYNCER_STORES__CRM__VIA": "pipelines",
        },
    ).stores["crm"]

    options = found.options
    assert isinstance(options, CustomerIOOptions)
    keys = (options.site_id, options.api_key, options.app_api_key)
    assert [*map(revealed, keys)] == ["hush-1", "hush-2", "hush-3"]
    assert (options.track_url, options.app_url) == ("http://127.0.0.1:8080", None)
    assert options.object_types == {"account": "1", "course": "2"}
    assert (options.requests_per_second, options.via) == (50, Via.PIPELINES)
    assert "hush" not in repr(found) + repr(options)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("OBJECT_TYPES", '{"account": "hush"}', "should give each type its number"),
        ("OBJECT_TYPES", "hush", "should give each type its number"),
        ("TRACK_URL", "http://hush.example.com", "should be an address such as `https://host`, without a path"),
        ("APP_URL", "https://user:hush@host", "should be an address such as `https://host`, without a path"),
        ("REQUESTS_PER_SECOND", "0", "should be greater than 0"),
        ("VIA", "pipelines", "`cdp_api_key` is needed for `via` pipelines"),
        ("API_KEY", "", "`site_id` and `api_key` are needed for customerio URLs"),
        ("URL", "sqlite:///x.db", "`site_id` is only for customerio URLs"),
    ],
)
def test_what_a_store_of_customerio_cannot_use_is_a_problem(
    tmp_path: Path, name: str, value: str, problem: str
) -> None:
    (found,) = problems(tmp_path, {**CUSTOMERIO, f"SYNCER_STORES__CRM__{name}": value})

    assert problem in found


def test_proxies_are_written_with_commas_or_blanks(tmp_path: Path) -> None:
    found = load(tmp_path, {"SYNCER_WEB__PROXY_ADDRESSES": "127.0.0.1, 10.0.0.0/8 ::1"})

    assert found.web.proxy_addresses == ["127.0.0.1", "10.0.0.0/8", "::1"]
    assert problems(tmp_path, {"SYNCER_WEB__PROXY_ADDRESSES": "proxy"}) == [
        "SYNCER_WEB__PROXY_ADDRESSES: should be addresses or networks such as `10.0.0.1` or `10.0.0.0/8`"
    ]


def test_what_the_service_cannot_use_is_reported_together(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            "SYNCER_WEB__TOKENS__CI__TOKEN": "hush",
            "SYNCER_WEB__PORTT": "1",
            "SYNCER_WEB__URL": "https://hush/path",
            "SYNCER_ALERTS__REJECTED": "hush",
            "SYNCER_ALERTS__ROWS": "150%",
            "SYNCER_ALERTS": "hush",
            "SYNCER_POOL_SIZE": "0",
            "SYNCER_MEMORY_LIMIT": "hush",
            "SYNCER_KEEP_RUNS": "hush",
            "SYNCER_WEB__PROXY_ADDRESSES": "10.0.0.1, hush",
        },
    )

    assert sorted(found) == [
        "SYNCER_ALERTS: is a group of settings, and has no value itself",
        "SYNCER_ALERTS__REJECTED: should be a share such as `5%` or `0.05`",
        "SYNCER_ALERTS__ROWS: should be a share such as `5%` or `0.05`",
        "SYNCER_KEEP_RUNS: should be a whole number",
        "SYNCER_MEMORY_LIMIT: should be a size, such as `512MB` or `2GB`",
        "SYNCER_POOL_SIZE: should be greater than or equal to 1",
        "SYNCER_WEB__PORTT: is not a setting; did you mean SYNCER_WEB__PORT?",
        "SYNCER_WEB__PROXY_ADDRESSES: should be addresses or networks such as `10.0.0.1` or `10.0.0.0/8`",
        "SYNCER_WEB__TOKENS__CI__TOKEN: should have at least 16 characters",
        "SYNCER_WEB__URL: should be an address such as `https://syncer.example.com`, without a path",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("STORES__DEFAULT__URLL", "is not a setting; did you mean SYNCER_STORES__DEFAULT__URL?"),
        ("STORES__DEFAULT__URL__X", "is not a setting; did you mean SYNCER_STORES__DEFAULT__URL?"),
        ("WAREHOUSES__LAKE__UNLOAD_TOO", "is not a setting; did you mean SYNCER_WAREHOUSES__LAKE__UNLOAD_TO?"),
        ("WEB__TOKENS__CI__SCOP", "is not a setting; did you mean SYNCER_WEB__TOKENS__CI__SCOPE?"),
        ("WEB__TOKENS__CI", "is a group of settings, such as its `token`, and has no value itself"),
        ("WEB__TOKENS", "is a group of settings, and has no value itself"),
    ],
)
def test_a_misspelled_setting_of_a_group_names_the_variable_that_was_meant(
    tmp_path: Path, name: str, problem: str
) -> None:
    found = problems(tmp_path, {f"SYNCER_{name}": "hush"})

    assert f"SYNCER_{name}: {problem}" in found
    assert "hush" not in str(found)


def test_a_share_is_a_percentage_or_a_number(tmp_path: Path) -> None:
    found = load(tmp_path, {"SYNCER_ALERTS__REJECTED": "5 %", "SYNCER_ALERTS__ROWS": "0.25"})

    assert (found.alerts.rejected, found.alerts.rows) == (0.05, 0.25)


@pytest.mark.parametrize(
    ("value", "size"),
    [("512MB", 512_000_000), ("2GB", 2_000_000_000), ("1 GiB", 2**30), ("300000000", 300_000_000)],
)
def test_a_limit_of_memory_is_a_size(tmp_path: Path, value: str, size: int) -> None:
    assert load(tmp_path, {"SYNCER_MEMORY_LIMIT": value}).memory_bytes == size


@pytest.mark.parametrize("value", ["12 parsecs", "-5MB", "GB"])
def test_a_limit_of_memory_that_is_no_size_is_refused(tmp_path: Path, value: str) -> None:
    words = "SYNCER_MEMORY_LIMIT: should be a size, such as `512MB` or `2GB`"
    assert problems(tmp_path, {"SYNCER_MEMORY_LIMIT": value}) == [words]


def test_a_limit_of_memory_has_room_for_the_program(tmp_path: Path) -> None:
    assert problems(tmp_path, {"SYNCER_MEMORY_LIMIT": "64MB"}) == ["SYNCER_MEMORY_LIMIT: should be at least 128MB"]


def test_without_a_limit_of_memory_it_is_half_of_what_there_is_and_at_most_two_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(tmp_path, {})
    sizes = []
    for size in (10**9, 64 * 10**9, 10**8):
        monkeypatch.setattr("syncer.settings.settings.memory_size", lambda size=size: size)
        sizes.append(found.memory_bytes)

    assert sizes == [500_000_000, 2_000_000_000, 128_000_000]


@pytest.mark.parametrize(
    ("groups", "files", "size"),
    [
        ("0::/a/b\n", {"a/memory.max": "700000000", "a/b/memory.max": "max"}, 700_000_000),
        ("0::/outside/of/it\n", {"memory.max": "300000000"}, 300_000_000),
        (
            "4:cpu,memory:/docker/1\n0::/\n",
            {"memory/docker/1/memory.limit_in_bytes": "400000000", "memory/memory.limit_in_bytes": str(2**63 - 4096)},
            400_000_000,
        ),
        ("4:memory:/gone\n", {"memory/memory.limit_in_bytes": "500000000"}, 500_000_000),
    ],
)
def test_a_control_group_bounds_the_memory(tmp_path: Path, groups: str, files: dict[str, str], size: int) -> None:
    for name, content in {"proc/self/cgroup": groups, **{f"sys/{name}": text for name, text in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    assert memory_size(tmp_path / "proc", tmp_path / "sys") == size


def test_without_control_groups_the_memory_is_that_of_the_machine(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert memory_size(tmp_path / "proc", tmp_path / "sys") == machine
