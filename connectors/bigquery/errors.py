"""What messages may repeat of BigQuery's errors, and the next step.

BigQuery quotes values of rows in some messages ("Bad int64 value: …") under the same reason as mistakes in the query.
So no error of the driver is chained to ours, and our messages quote only messages of a known form.
Source of the reasons: https://cloud.google.com/bigquery/docs/error-messages.
"""

from __future__ import annotations

import re
from typing import Any

from connectors.bigquery.connection import Place
from connectors.support.connection import ConnectionName
from connectors.support.warehouse import RUN_AGAIN
from syncer.model.errors import WarehouseError
from syncer.model.importing import importing
from syncer.model.select_statement import SELECT_HINT

#: Messages that quote words of the query, and never a row's value.
_QUOTABLE = re.compile(
    r"(?:Syntax error: |Unrecognized name: |Function not found: |Table-valued function not found: |"
    r"No matching signature for |Name \S+ (?:not found inside|is ambiguous)|Column name \S+ is ambiguous|"
    r"Duplicate column names? in the result|SELECT list expression references column |"
    r"Query parameter |Aggregate function \S+ not allowed|Table \S+ must be qualified with a dataset|"
    r"Field name \S+ does not exist in |Column \S+ in USING clause not found|Unexpected end of |"
    r"Illegal input character )[^\n]*"
)
#: A literal of the query in such a message.
_LITERAL = re.compile(r"(literal) (?:\w{0,2}(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|[-.\d][\w.]*)")
#: What a value does not fit; it comes behind that.
_VALUE = re.compile(
    r"Bad (bool|int64|double|float64|numeric) value: |Invalid (date|datetime|timestamp|time)(?: string)?: |"
    r"[Dd]ivision by zero: "
)
_POSITION = re.compile(r" ?at \[(\d+):(\d+)\]")
_NOT_FOUND = re.compile(r"Not found: ([A-Z]\w+) (\S+?)(?: was not found in location ([\w-]+))?[.;]?(?:\s|$)")
_DENIED = re.compile(r"Access Denied: ([A-Z]\w+) ([^\s:]+:?[^\s:]+)")
_LIMIT = re.compile(r"(\d+) or higher required")

_TOO_LARGE = ("the query needs more than BigQuery gives one query", "Make the query cheaper.")
_INTERNAL = ("BigQuery had an error of its own", RUN_AGAIN)
_ENABLE = "Enable it: `gcloud services enable bigquery.googleapis.com bigquerystorage.googleapis.com`."
#: Reason to what happened and the next step.
_REASONS = {
    "required": ("the query is empty", SELECT_HINT),
    "stopped": ("the query was cancelled", "Somebody cancelled it on the server; run the sync again."),
    "quotaExceeded": ("a quota of the project is used up", "Wait, or ask who runs the project for a higher quota."),
    "rateLimitExceeded": ("too many queries at once", "Run the sync again, or let fewer run at the same time."),
    "resourcesExceeded": _TOO_LARGE,
    "responseTooLarge": ("the result is larger than BigQuery returns", "Return fewer rows or columns."),
    "billingNotEnabled": ("billing is not enabled for the project", "Enable billing for the project that pays."),
    "billingTierLimitExceeded": _TOO_LARGE,
    "accessNotConfigured": ("the BigQuery API is not enabled in the project", _ENABLE),
    "backendError": _INTERNAL,
    "internalError": _INTERNAL,
    "jobBackendError": _INTERNAL,
    "jobInternalError": _INTERNAL,
    "timeout": ("BigQuery took too long to answer", RUN_AGAIN),
}
#: What an HTTP status means if the answer gives no reason.
_STATUSES = {400: "invalid", 401: "authError", 403: "forbidden", 404: "notFound", 429: "rateLimitExceeded"}


def failures() -> tuple[type[Exception], ...]:
    """What the driver and its libraries raise: they have no error in common."""
    with importing:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

    return GoogleAPIError, GoogleAuthError, RequestException, OSError


def failure(error: Exception, named: ConnectionName, place: Place) -> WarehouseError:
    """The error to raise for *error*, which the driver or one of its libraries raised."""
    cause: Any = getattr(error, "cause", None) or error
    reason, text = _reason_and_text(cause)
    line = column = None
    if login_fault := _login_fault(cause, reason):
        message = f"Google does not accept the login: {login_fault}"
        hint = (
            "Check {setting}__KEY_FILE, and that nobody deleted the key; renew a login of your own by "
            "`gcloud auth application-default login`."
        )
    elif reason in ("invalidQuery", "invalid"):
        message, hint, line, column = _invalid(text)
    elif reason == "notFound":
        message, hint = _not_found(text)
    elif reason in ("accessDenied", "forbidden"):
        message, hint = _denied(text, place)
    elif reason == "bytesBilledLimitExceeded":
        needed = _LIMIT.search(text)
        message = f"the query would bill {f'{int(needed[1]):,} bytes, ' if needed else ''}more than the limit allows"
        hint = "Raise {setting}__MAXIMUM_BYTES_BILLED, or read less: fewer columns, or fewer partitions."
    elif not reason:
        message = f"the connection to BigQuery at {place.endpoint or 'bigquery.googleapis.com'} failed or was lost"
        hint = "Nothing of the result was used; check that this machine reaches it, and run the sync again."
    else:
        message, hint = _REASONS.get(reason, (f"BigQuery answered with an error ({reason})", ""))
    return WarehouseError(f"{named.label}: {message}", hint=named.hint(hint), query_line=line, query_column=column)


def _invalid(text: str) -> tuple[str, str, int | None, int | None]:
    position = _POSITION.search(text)
    line, column = (int(position[1]), int(position[2])) if position else (None, None)
    if quotable := _QUOTABLE.match(text):
        return _LITERAL.sub(r"\1", _POSITION.sub("", quotable[0])).rstrip(". "), "", line, column
    if known := _VALUE.match(text):
        type_ = (known[1] or known[2] or "").upper()
        message = f"a value cannot be cast to {type_}" if type_ else "division by zero"
        return message, "`syncer explain-error RUN_ID` shows a query that finds the row.", line, column
    hint = (
        "Its message may hold a row's value and is not shown; run the query in the console to see it. "
        "SAFE_CAST gives NULL for a value that cannot be converted."
    )
    return "BigQuery refuses the query, or a value in it", hint, line, column


def _not_found(text: str) -> tuple[str, str]:
    found = _NOT_FOUND.match(text)
    if not found:
        return "something that the query names does not exist", "Check its names."
    kind, what, location = found.groups()
    message = f"there is no {kind.lower()} {what}"
    if kind == "Table":
        hint = "Check the name; a table outside of the URL's dataset needs it, as in `dataset.table`."
    elif location:
        hint = "Check the name; if it is elsewhere, add its location to {setting}__URL, as `?location=EU`."
    else:
        hint = "Check the names in the query and in {setting}__URL."
    return message + (f" in the location {location}" if location else ""), hint


def _denied(text: str, place: Place) -> tuple[str, str]:
    if "Drive" in text:
        return "access denied to a file in Drive", "Share the file with the account of the login."
    found = _DENIED.match(text)
    kind, what = found.groups() if found else ("", "")
    roles = f"roles/bigquery.jobUser on the project {place.project}."
    if kind != "Project" and "jobs.create" not in text:
        roles = f"roles/bigquery.dataViewer on the dataset, and for {roles}"
    return f"access denied{f' to the {kind.lower()} {what}' if found else ''}", f"Ask for the role {roles}"


def _reason_and_text(error: Any) -> tuple[str, str]:
    """BigQuery's reason and message, both empty if BigQuery did not answer."""
    for answer in getattr(error, "errors", None) or ():
        if isinstance(answer, dict) and re.fullmatch(r"\w+", reason := str(answer.get("reason", ""))):
            return reason, str(answer.get("message", ""))
    return _STATUSES.get(getattr(error, "code", None) or 0, ""), ""


def _login_fault(error: Any, reason: str) -> str:
    """What is wrong with the login, or empty."""
    if reason == "authError" or getattr(error, "code", None) == 401:
        return "it is unknown or out of date"
    if type(error).__module__.startswith("google.auth") and type(error).__name__ != "TransportError":
        # Its text is what the token's server said, and may hold parts of the key.
        return "Google gave no token for it"
    return ""
