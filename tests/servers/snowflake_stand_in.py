"""A program that answers Snowflake's client protocol on 127.0.0.1: `python -m tests.servers.snowflake_stand_in PORT`.

sqlglot writes Snowflake's SQL as DuckDB's, and DuckDB runs it. What is here is the protocol around that, as the
service speaks it: logins, queries that go on while the client asks for their state, results in several parts,
cancelling. Below `/stand-in/` a test can lay down what DuckDB cannot give: databases, keys, grants, results in any
shape.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import secrets
import sys
import threading
import uuid
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
import uvicorn
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.snowflake import PASSWORD, TOKEN, USER, WAREHOUSE, ipc

_PART_ROWS = 50_000
_CANCELLED = ("000604", "57014", "SQL execution canceled")
_SELECT = 0x1000

#: DuckDB's word for a type, without what is in brackets, to the service's.
_TYPES = {
    "BIGINT": "fixed", "BLOB": "binary", "BOOLEAN": "boolean", "DATE": "date", "DECIMAL": "fixed", "DOUBLE": "real",
    "HUGEINT": "fixed", "INTEGER": "fixed", "JSON": "variant", "TIME": "time", "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITH TIME ZONE": "timestamp_tz", "VARCHAR": "text", '"NULL"': "text",
}  # fmt: skip

_duckdb = duckdb.connect()
_duckdb.execute("SET GLOBAL TimeZone = 'UTC'")
_sessions: dict[str, _Session] = {}
#: Every session there was.
_logins: list[_Session] = []
_statements: dict[str, _Statement] = {}
_parts: dict[str, bytes] = {}
#: What tests laid down.
_results: dict[str, dict[str, Any]] = {}
_grants: dict[str, list[list[str]]] = {}
_public_keys: dict[str, bytes] = {}
_roles = {"READER"}


class _RefusalError(Exception):
    """An answer `code`, `sqlState`, `message` in place of a result."""


class _Session:
    def __init__(self, asked: dict[str, Any]) -> None:
        self.warehouse = asked.get("warehouse")
        self.role = (asked.get("roleName") or "READER").upper()
        self.parameters: dict[str, Any] = asked["data"]["SESSION_PARAMETERS"]
        self.login: dict[str, Any] = asked["data"]
        self.duckdb = _duckdb.cursor()
        if asked.get("databaseName"):
            self.duckdb.execute(f"USE {asked['databaseName']}.PUBLIC")
        self.lock = threading.Lock()


class _Statement:
    """One statement of a session, which runs in a thread of its own."""

    def __init__(self, session: _Session, body: dict[str, Any]) -> None:
        self.id = str(uuid.uuid4())
        self.session = session
        self.sql: str = body["sqlText"]
        self.is_described: bool = body.get("describeOnly", False)
        self.is_cancelled = False
        self.is_answered = threading.Event()
        self.answer: dict[str, Any] | None = None

    def run(self) -> None:
        """Set `answer`."""
        try:
            with self.session.lock:
                data = self._data()
            self.answer = {"success": True, "code": None, "message": None, "data": data | {"queryId": self.id}}
        except _RefusalError as refusal:
            code, state, message = refusal.args
            data = {"errorCode": code, "sqlState": state, "queryId": self.id, "internalError": False}
            self.answer = {"success": False, "code": code, "message": message, "data": data}
        self.is_answered.set()

    def cancel(self) -> None:
        """End it."""
        self.is_cancelled = True
        # An interruption is lost where DuckDB has not begun yet.
        while not self.is_answered.wait(0.05):
            self.session.duckdb.interrupt()

    def _data(self) -> dict[str, Any]:
        if self.is_cancelled:
            raise _RefusalError(*_CANCELLED)
        for name, laid in _results.items():
            if re.search(rf"\b{name}\b", self.sql, re.IGNORECASE):
                return _laid_result(laid, self.is_described)
        if special := self._special():
            return special
        statements = sqlglot.parse(self.sql, read="snowflake") if self._is_understood() else []
        if len(statements) > 1:
            message = f"Actual statement count {len(statements)} did not match the desired statement count 1."
            raise _RefusalError("000008", "0A000", message)
        if not self.is_described and not self.session.warehouse:
            message = "No active warehouse selected in the current session.  Select an active warehouse with the "
            raise _RefusalError("000606", "57P03", message + "'use warehouse' command.\n")
        return self._queried(statements[0])

    def _is_understood(self) -> bool:
        try:
            sqlglot.parse(self.sql, read="snowflake")
        except (sqlglot.errors.ParseError, sqlglot.errors.TokenError) as error:
            where = getattr(error, "errors", None) or [{"line": 1, "col": 1, "highlight": ""}]
            at, word = f"line {where[0]['line']} at position {where[0]['col'] - 1}", where[0]["highlight"]
            # The service names the first word that it cannot take, which is one before what sqlglot's parser names.
            word = re.split(r"\s+", self.sql[: self.sql.find(word)].strip())[-1] + " " + word if word else word
            message = f"SQL compilation error:\nsyntax error {at} unexpected '{word}'."
            raise _RefusalError("001003", "42000", message) from None
        return True

    def _special(self) -> dict[str, Any] | None:
        if shown := re.fullmatch(r'SHOW GRANTS TO ROLE "(.*)"', self.sql):
            names = ["created_on", "privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option"]
            rows = [["1", *row, "ROLE", shown[1], "false"] for row in _grants.get(shown[1], [])]
            return _json_result(names, rows)
        if changed := re.fullmatch(r"ALTER SESSION SET (\w+) = (\w+)", self.sql):
            self.session.parameters[changed[1]] = changed[2]
            return _json_result(["status"], [["Statement executed successfully."]])
        if self.sql == "COMMIT":
            return _json_result(["status"], [["Statement executed successfully."]])
        if re.fullmatch(r"SELECT CURRENT_VERSION\(\), CURRENT_ROLE\(\)", self.sql):
            return _json_result(["CURRENT_VERSION()", "CURRENT_ROLE()"], [["9.34.2", self.session.role]])
        if self.sql == "SELECT SYSDATE()":
            now = self.session.duckdb.sql("""SELECT now() AT TIME ZONE 'UTC' AS "SYSDATE()" """).to_arrow_table()
            return _result([_column("SYSDATE()", "TIMESTAMP")], now)
        return None

    def _queried(self, statement: exp.Expr | None) -> dict[str, Any]:
        if isinstance(statement, exp.Select) and (inner := _wrapped(statement)):
            # DuckDB would rename columns of one name; Snowflake does not.
            statement = inner
        if statement is None or (self.is_described and not isinstance(statement, exp.Query)):
            return _json_result(["status"], [])
        sql = normalize_identifiers(statement, dialect="snowflake").transform(_without_variant).sql("duckdb")
        cursor = self.session.duckdb
        try:
            if not isinstance(statement, exp.Query):
                cursor.execute(sql)
                return _json_result(["status"], [["Statement executed successfully."]])
            described = cursor.execute(f"DESCRIBE {sql}").fetchall()
            rowtype = [_column(name, kind) for name, kind, *_ in described]
            return _result(rowtype, None if self.is_described else cursor.sql(sql).to_arrow_table())
        except duckdb.Error as error:
            raise self._refusal(str(error)) from None

    def _refusal(self, message: str) -> _RefusalError:
        if self.is_cancelled:
            return _RefusalError(*_CANCELLED)
        if value := re.search(r"Could not convert string ['\"](.*?)['\"]", message):
            return _RefusalError("100038", "22018", f"Numeric value '{value[1]}' is not recognized")
        if value := re.search(r"invalid date field format: \"(.*?)\"", message):
            return _RefusalError("100040", "22007", f"Date '{value[1]}' is not recognized")
        if table := re.search(r"(?:Table|View) with name (\w+) does not exist", message):
            text = f"SQL compilation error:\nObject '{table[1]}' does not exist or not authorized."
            return _RefusalError("002003", "42S02", text)
        if column := re.search(r'Referenced column "(.*?)"', message):
            before = self.sql[: self.sql.upper().index(column[1].upper())]
            at = f"line {before.count(chr(10)) + 1} at position {len(before) - before.rfind(chr(10)) - 1}"
            text = f"SQL compilation error: error {at}\ninvalid identifier '{column[1]}'"
            return _RefusalError("000904", "42000", text)
        return _RefusalError("001003", "42000", f"SQL compilation error:\n{message}")


def _wrapped(statement: exp.Select) -> exp.Expr | None:
    """The query in brackets of a bare `SELECT * FROM (…)`."""
    parts = {name for name, part in statement.args.items() if part}
    source = statement.args.get("from_")
    if parts != {"expressions", "from_"} or not statement.is_star or not isinstance(source, exp.From):
        return None
    if not isinstance(source.this, exp.Subquery) or statement.expressions[0].args.get("replace"):
        return None
    inner = source.this.this
    return inner if isinstance(inner, exp.Query) else None


def _without_variant(node: exp.Expr) -> exp.Expr:
    is_variant = isinstance(node, exp.DataType) and node.is_type(exp.DType.VARIANT)
    return exp.DataType.build("JSON") if is_variant else node


def _column(name: str, kind: str = "VARCHAR") -> dict[str, Any]:
    """What the service tells of a column that has the type *kind* in DuckDB."""
    word, _, digits = kind.rstrip(")").partition("(")
    told: dict[str, Any] = {"name": name, "nullable": True, "type": _TYPES[word], "scale": None, "precision": None}
    if told["type"] == "fixed":
        precision, scale = digits.split(",") if digits else ("38", "0")
        told |= {"precision": int(precision), "scale": int(scale)}
    elif told["type"].startswith("time"):
        told |= {"precision": 0, "scale": 9}
    length = 16_777_216 if told["type"] in ("text", "binary") else None
    return told | {"length": length, "byteLength": length}


def _json_result(names: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return _answered([_column(name) for name in names], len(rows)) | {"queryResultFormat": "json", "rowset": rows}


def _answered(rowtype: list[Any], rows: int) -> dict[str, Any]:
    parameters = [{"name": "TIMEZONE", "value": "UTC"}]
    return {"parameters": parameters, "rowtype": rowtype, "total": rows, "returned": rows, "statementTypeId": _SELECT}


def _result(rowtype: list[Any], table: pa.Table | None) -> dict[str, Any]:
    if table is None:
        return _answered(rowtype, 0) | {"queryResultFormat": "arrow", "rowsetBase64": ""}
    wire = _wire(rowtype, table)
    parts = [wire.slice(start, _PART_ROWS) for start in range(0, max(1, wire.num_rows), _PART_ROWS)]
    return _in_parts(rowtype, parts)


def _laid_result(laid: dict[str, Any], is_described: bool) -> dict[str, Any]:
    if refusal := laid.get("refusal_when_described" if is_described else "refusal"):
        raise _RefusalError(*refusal)
    if is_described:
        return _answered(laid["rowtype"], 0) | {"queryResultFormat": "arrow", "rowsetBase64": ""}
    parts = [pa.ipc.open_stream(base64.b64decode(part)).read_all() for part in laid["parts"]]
    data = _in_parts(laid["rowtype"], parts)
    data["total"] += laid["missing_rows"]
    for word in laid.get("further_parts", []):
        # Its address tells how it goes wrong.
        sizes = {"uncompressedSize": 100, "compressedSize": 100}
        data.setdefault("chunks", []).append({"url": _address(word), "rowCount": 1} | sizes)
    return data


def _in_parts(rowtype: list[Any], parts: list[pa.Table]) -> dict[str, Any]:
    """The first part in the answer itself, the others to be fetched."""
    data = _answered(rowtype, sum(part.num_rows for part in parts)) | {"queryResultFormat": "arrow"}
    first, *others = [ipc(part) for part in parts]
    data["rowsetBase64"] = base64.b64encode(first).decode()
    if others:
        data["chunks"], data["qrmk"], data["chunkHeaders"] = [], "", {"x-part": "1"}
    for part, encoded in zip(parts[1:], others, strict=True):
        name = secrets.token_hex(8)
        _parts[name] = encoded
        sizes = {"uncompressedSize": len(encoded), "compressedSize": len(encoded)}
        data["chunks"].append({"url": _address(name), "rowCount": part.num_rows} | sizes)
    return data


def _address(part: str) -> str:
    return f"http://127.0.0.1:{sys.argv[1]}/parts/{part}"


def _wire(rowtype: list[Any], table: pa.Table) -> pa.Table:
    """*table* in the forms of the wire."""
    columns = [_on_wire(column.combine_chunks()) for column in table.columns]
    told = [{"logicalType": c["type"].upper(), "precision": str(c["precision"] or 38), "scale": str(c["scale"] or 0)}
            for c in rowtype]  # fmt: skip
    named = zip(rowtype, columns, told, strict=True)
    schema = pa.schema([pa.field(c["name"], column.type, metadata=t) for c, column, t in named])
    return pa.Table.from_arrays(columns, schema=schema)


def _on_wire(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_time(column.type):
        return pc.multiply(column.cast(pa.int64()), 1000)
    if not pa.types.is_timestamp(column.type):
        return column
    ticks = pc.fill_null(column.cast(pa.int64()), 0)
    seconds = pc.divide(pc.subtract(ticks, pc.if_else(pc.less(ticks, 0), 999_999, 0)), 1_000_000)
    nanoseconds = pc.multiply(pc.subtract(ticks, pc.multiply(seconds, 1_000_000)), 1000)
    fields = {"epoch": seconds, "fraction": nanoseconds.cast(pa.int32())}
    if column.type.tz:
        # UTC: minutes from -24 hours on.
        fields["timezone"] = pa.array([1440] * len(column), pa.int32())
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=pc.is_null(column))


async def _body(request: Request) -> dict[str, Any]:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    found: dict[str, Any] = json.loads(body) if body else {}
    return found


def _refused(code: str, message: str, **data: Any) -> JSONResponse:
    return JSONResponse({"success": False, "code": code, "message": message, "data": data or None})


async def _log_in(request: Request) -> JSONResponse:
    asked = dict(request.query_params) | await _body(request)
    if refusal := _login_refusal(asked["data"]):
        return _refused(*refusal)
    if (asked.get("roleName") or "READER").upper() not in _roles | _grants.keys():
        return _refused("390189", f"Role '{asked['roleName']}' specified in the connect string does not exist or "
                        "not authorized. Contact your local system administrator, or attempt to login with another "
                        "role, e.g. PUBLIC.")  # fmt: skip
    for name, kind in (("databaseName", "database"), ("warehouse", "warehouse")):
        if asked.get(name) and not await run_in_threadpool(_exists, kind, asked[name]):
            return _refused("390201", f"The requested {kind} does not exist or not authorized.")
    token = secrets.token_urlsafe(16)
    _sessions[token] = session = await run_in_threadpool(_Session, asked)
    _logins.append(session)
    info = {name: asked.get(name) for name in ("databaseName", "schemaName", "roleName")}
    data = {"token": token, "masterToken": secrets.token_urlsafe(16), "validityInSeconds": 3600, "sessionId": 1,
            "masterValidityInSeconds": 14400, "displayUserName": USER, "serverVersion": "9.34.2",
            "parameters": [{"name": name, "value": value} for name, value in session.parameters.items()],
            "sessionInfo": info | {"warehouseName": session.warehouse}}  # fmt: skip
    return JSONResponse({"success": True, "code": None, "message": None, "data": data})


def _login_refusal(login: dict[str, Any]) -> tuple[str, str] | None:
    way, token = login.get("AUTHENTICATOR", "SNOWFLAKE"), login.get("TOKEN", "")
    if way == "SNOWFLAKE_JWT":
        return None if _is_signed(token) else ("390144", "JWT token is invalid.")
    if way == "OAUTH":
        return None if token == TOKEN else ("390303", "Invalid OAuth access token. ")
    if way == "PROGRAMMATIC_ACCESS_TOKEN":
        return None if token == TOKEN else ("394400", "Programmatic access token is invalid.")
    is_known = (login.get("LOGIN_NAME"), login.get("PASSWORD")) == (USER, PASSWORD)
    return None if is_known else ("390100", "Incorrect username or password was specified.")


def _is_signed(token: str) -> bool:
    """Whether the user's key signed *token*, and it is named as the service wants it."""
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    account, user, print_ = json.loads(claims)["iss"].split(".", 2)
    pem = _public_keys.get(user)
    if pem is None or json.loads(head)["alg"] != "RS256":
        return False
    key: Any = load_pem_public_key(pem)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if not account or print_ != "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode():
        return False
    key.verify(signature, token.rpartition(".")[0].encode(), PKCS1v15(), SHA256())
    return True


def _exists(kind: str, name: str) -> bool:
    if kind == "warehouse":
        return name.upper() == WAREHOUSE
    with _duckdb.cursor() as cursor:
        return bool(cursor.execute("FROM duckdb_databases() WHERE database_name ILIKE ?", [name]).fetchall())


def _session(request: Request) -> _Session | None:
    return _sessions.get(request.headers.get("Authorization", "")[17:-1])


async def _log_out(request: Request) -> JSONResponse:
    if request.query_params.get("delete"):
        _sessions.pop(request.headers.get("Authorization", "")[17:-1], None)
    return JSONResponse({"success": True, "code": None, "message": None, "data": None})


async def _query(request: Request) -> JSONResponse:
    session, body = _session(request), await _body(request)
    if session is None:
        return _refused("390104", "User must login again to access the service.")
    statement = _Statement(session, body)
    _statements[statement.id] = statement
    if not body.get("asyncExec"):
        await run_in_threadpool(statement.run)
        return JSONResponse(statement.answer)
    threading.Thread(target=statement.run, daemon=True).start()
    data = {"queryId": statement.id, "getResultUrl": f"/queries/{statement.id}/result", "queryAbortsAfterSecs": 300}
    return JSONResponse({"success": True, "code": "333334", "message": "", "data": data})


async def _result_of(request: Request) -> JSONResponse:
    return JSONResponse(_statements[request.path_params["id"]].answer)


async def _state(request: Request) -> JSONResponse:
    statement = _statements[request.path_params["id"]]
    answer = statement.answer
    if answer is None:
        query = {"id": statement.id, "status": "RUNNING", "state": "RUNNING"}
    elif answer["success"]:
        query = {"id": statement.id, "status": "SUCCESS", "state": "SUCCEEDED"}
    else:
        query = {"id": statement.id, "status": "FAILED_WITH_ERROR", "errorCode": answer["code"],
                 "errorMessage": answer["message"]}  # fmt: skip
    return JSONResponse({"success": True, "code": None, "message": None, "data": {"queries": [query]}})


async def _abort(request: Request) -> JSONResponse:
    await run_in_threadpool(_statements[request.path_params["id"]].cancel)
    return JSONResponse({"success": True, "code": None, "message": None, "data": None})


async def _part(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "never":
        await request.receive()
        while (await request.receive())["type"] != "http.disconnect":
            pass
    if name == "broken":
        return Response(b"no Arrow", media_type="application/octet-stream")
    if name in ("never", "gone"):
        return Response("expired", status_code=403)
    return Response(_parts[name], media_type="application/octet-stream")


async def _lay(request: Request) -> JSONResponse:
    """Keep what a test says for later."""
    kind, name, body = request.path_params["kind"], request.path_params["name"], await request.body()
    if kind == "databases":
        with _duckdb.cursor() as cursor:
            cursor.execute(f"ATTACH ':memory:' AS {name}; CREATE SCHEMA {name}.PUBLIC")
    elif kind == "results":
        _results[name] = json.loads(body)
    elif kind == "grants":
        _grants[name] = json.loads(body)
    elif kind == "keys":
        _public_keys[name] = body
    return JSONResponse({})


async def _look(request: Request) -> JSONResponse:
    """What tests may ask: the statements that run, the sessions there were and what they were opened with."""
    running = [one.sql for one in _statements.values() if one.answer is None]
    sessions = [{"parameters": one.parameters, "login": one.login} for one in _logins]
    statements = [one.sql for one in _statements.values()]
    return JSONResponse({"running": running, "statements": statements, "sessions": sessions})


_app = Starlette(
    routes=[
        Route("/session/v1/login-request", _log_in, methods=["POST"]),
        Route("/session", _log_out, methods=["POST"]),
        Route("/session/heartbeat", _log_out, methods=["POST"]),
        Route("/queries/v1/query-request", _query, methods=["POST"]),
        Route("/queries/{id}/result", _result_of),
        Route("/queries/{id}/abort-request", _abort, methods=["POST"]),
        Route("/monitoring/queries//{id}", _state),
        Route("/parts/{name}", _part),
        Route("/stand-in/{kind}/{name}", _lay, methods=["PUT"]),
        Route("/stand-in", _look),
    ]
)

if __name__ == "__main__":
    uvicorn.run(_app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
