"""What may be said of BigQuery's errors, and the next step.

BigQuery quotes values of rows in some messages ("Bad int64 value: …") under the same reason as mistakes in the
query; so no error of the driver is chained to ours, and only messages of a known shape are quoted.
Source of the reasons: https://cloud.google.com/bigquery/docs/error-messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from connectors.bigquery.connection import Place, setting
from syncer.model.errors import WarehouseError
from syncer.model.select_statement import SELECT_HINT

_AGAIN = "Nothing of the result was used; run the sync again."

#: Messages that quote words of the query, and never a row's value; what a group matches is passed on.
_QUOTABLE = re.compile(
    r"(?:Syntax error: |Unrecognized name: |Function not found: |Table-valued function not found: |"
    r"No matching signature for |Name \S+ (?:not found inside|is ambiguous)|Column name \S+ is ambiguous|"
    r"Duplicate column names? in the result|SELECT list expression references column |"
    r"Query parameter |Aggregate function \S+ not allowed|Table \S+ must be qualified with a dataset|"
    r"Field name \S+ does not exist in |Column \S+ in USING clause not found|Unexpected end of |"
    r"Illegal input character )[^\n]*"
)
#: What a message that may be passed on still quotes of the query's literals.
_LITERAL = re.compile(r"(literal) (?:\w{0,2}(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|[-.\d][\w.]*)")
_POSITION = re.compile(r" ?at \[(\d+):(\d+)\]")
_NOT_FOUND = re.compile(r"Not found: ([A-Z]\w+) (\S+?)(?: was not found in location ([\w-]+))?[.;]?(?:\s|$)")
_DENIED = re.compile(r"Access Denied: ([A-Z]\w+) ([^\s:]+:?[^\s:]+)")
_LIMIT = re.compile(r"(\d+) or higher required")

#: Reason to what happened and the next step.
_REASONS = {
    "required": ("the query is empty", SELECT_HINT),
    "stopped": ("the query was cancelled", "Somebody cancelled it on the server; run the sync again."),
    "quotaExceeded": ("a quota of the project is used up", "Wait, or ask who runs the project for a higher quota."),
    "rateLimitExceeded": ("too many queries at once", "Run the sync again, or let fewer run at the same time."),
    "resourcesExceeded": ("the query needs more than BigQuery gives one query", "Make the query cheaper."),
    "responseTooLarge": ("the result is larger than BigQuery returns", "Return fewer rows or columns."),
    "billingNotEnabled": ("billing is not enabled for the project", "Enable billing for the project that pays."),
    "billingTierLimitExceeded": ("the query needs more than BigQuery gives one query", "Make the query cheaper."),
    "accessNotConfigured": ("the BigQuery API is not enabled in the project", "Enable it: `gcloud services enable "
                            "bigquery.googleapis.com bigquerystorage.googleapis.com`."),
    "backendError": ("BigQuery had an error of its own", _AGAIN),
    "internalError": ("BigQuery had an error of its own", _AGAIN),
    "jobBackendError": ("BigQuery had an error of its own", _AGAIN),
    "jobInternalError": ("BigQuery had an error of its own", _AGAIN),
    "timeout": ("BigQuery took too long to answer", _AGAIN),
}  # fmt: skip


def failures() -> tuple[type[Exception], ...]:
    """What the driver raises, and what it lets through: they have no error in common."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    return GoogleAPIError, GoogleAuthError, RequestException, OSError


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Makes errors to raise of the driver's, for the warehouse called *name*."""

    name: str
    place: Place

    def failure(self, error: Exception) -> WarehouseError:
        """The error to raise for *error*, which the driver or one of its libraries raised."""
        cause: Any = getattr(error, "cause", None) or error
        reason, text = _told(cause)
        if code := _login_problem(cause, reason):
            return self._error(
                f"Google does not accept the login: {code}",
                f"Check {setting(self.name, 'KEY_FILE')}, and that the key was not deleted; a login of your own is "
                "renewed by `gcloud auth application-default login`.",
            )
        match reason:
            case "invalidQuery" | "invalid":
                return self._invalid(text)
            case "notFound":
                return self._not_found(text)
            case "accessDenied" | "forbidden":
                return self._denied(text)
            case "bytesBilledLimitExceeded":
                return self._too_many_bytes(text)
            case "":
                return self._unreachable(cause)
        said, hint = _REASONS.get(reason, (f"BigQuery answered with an error ({reason})", ""))
        return self._error(said, hint)

    def _error(self, said: str, hint: str, line: int | None = None) -> WarehouseError:
        return WarehouseError(f"warehouse `{self.name}`: {said}", hint=hint, query_line=line)

    def _invalid(self, text: str) -> WarehouseError:
        position = _POSITION.search(text)
        line = int(position[1]) if position else None
        if quotable := _QUOTABLE.match(text):
            return self._error(_LITERAL.sub(r"\1", _POSITION.sub("", quotable[0])).rstrip(". "), "", line)
        return self._error(
            "BigQuery refuses the query, or a value in it",
            "Its message may hold a row's value and is not shown; run the query in the console to see it. "
            "SAFE_CAST gives NULL for a value that cannot be converted.",
            line,
        )

    def _not_found(self, text: str) -> WarehouseError:
        found = _NOT_FOUND.match(text)
        if not found:
            return self._error("something that the query names does not exist", "Check its names.")
        kind, what, location = found.groups()
        said = f"there is no {kind.lower()} {what}" + (f" in the location {location}" if location else "")
        url = setting(self.name, "URL")
        if kind == "Table":
            return self._error(said, "Check the name; a table outside of the URL's dataset needs it, as in "
                               "`dataset.table`.")  # fmt: skip
        if location:
            return self._error(
                said, f"Check the name; if it is elsewhere, add its location to {url}, as `?location=EU`."
            )
        return self._error(said, f"Check the names in the query and in {url}.")

    def _denied(self, text: str) -> WarehouseError:
        found = _DENIED.match(text)
        kind, what = found.groups() if found else ("", "")
        said = f"access denied{f' to the {kind.lower()} {what}' if found else ''}"
        if "Drive" in text:
            return self._error("access denied to a file in Drive", "Share the file with whoever is logged in.")
        if kind == "Project" or "jobs.create" in text:
            return self._error(said, f"Ask for the role roles/bigquery.jobUser on the project {self.place.project}.")
        return self._error(said, "Ask for the role roles/bigquery.dataViewer on the dataset, and for "
                           f"roles/bigquery.jobUser on the project {self.place.project}.")  # fmt: skip

    def _too_many_bytes(self, text: str) -> WarehouseError:
        needed = _LIMIT.search(text)
        most = setting(self.name, "MAXIMUM_BYTES_BILLED")
        return self._error(
            f"the query would bill {f'{int(needed[1]):,} bytes, ' if needed else ''}more than {most} allows",
            f"Raise {most}, or read less: fewer columns, or fewer partitions.",
        )

    def _unreachable(self, error: Exception) -> WarehouseError:
        at = self.place.endpoint or "bigquery.googleapis.com"
        return self._error(
            f"the connection to BigQuery at {at} failed or was lost",
            "Nothing of the result was used; check that this machine reaches it, and run the sync again.",
        )


def _told(error: Any) -> tuple[str, str]:
    """The reason and message of *error*, both empty where nobody at BigQuery said anything."""
    for told in getattr(error, "errors", None) or ():
        if isinstance(told, dict) and re.fullmatch(r"\w+", reason := str(told.get("reason", ""))):
            return reason, str(told.get("message", ""))
    code: Any = getattr(error, "code", None)
    reason = {400: "invalid", 403: "forbidden", 404: "notFound", 401: "authError", 429: "rateLimitExceeded"}.get(
        code, ""
    )
    return reason, ""


def _login_problem(error: Any, reason: str) -> str:
    """What is wrong with the login, or empty."""
    if reason == "authError" or getattr(error, "code", None) == 401:
        return "it is unknown or out of date"
    if type(error).__module__.startswith("google.auth") and type(error).__name__ != "TransportError":
        # Its text is what the token's server said, and may hold parts of the key.
        return "no token was given for it"
    return ""
