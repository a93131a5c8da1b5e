"""Makes the sample data, a small invented shop with accounts: `python -m tests.starter.sample_data`.

That also copies the packaged examples to the `sync_definitions` of this repository.

Only `Random.random` is used, whose numbers for a seed are the same in every version of Python.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import parquet

from syncer.starter import example_files

_SEED = 2026
_CUSTOMERS = 2_000
_ORDERS = 6_000
_MEMBERSHIPS = 1_500
_COUPONS = 60
_DEVICES = 1_200

_FIRST_DAY = datetime(2023, 1, 1)  # noqa: DTZ001 - a database's timestamp without a zone, as most shops keep it
_LAST_DAY = datetime(2026, 10, 31)  # noqa: DTZ001

_FIRST_NAMES = """
    Ada Aisha Amara Ana Anton Beatriz Björn Carlos Chloé Daniela David Elif Emeka Emma Fatima Felix Grace Hana Hugo Ines
    Ivan Jakub José Julia Kenji Laila Leon Lucía Łukasz Marie Mateo Mei Mia Nadia Noah Olga Omar Paula Priya Ravi Rosa
    Samuel Sara Sofia Sven Tariq Tomás Valentina Yara Zoë
"""
_LAST_NAMES = """
    Adeyemi Almeida Andersson Bauer Bianchi Chen Cohen Costa Diaz Dubois Eriksen Fischer Garcia Haddad Hansen Horvat Ito
    Jansen Kaya Khan Kowalski Kumar Laurent Lindqvist Lopez Maier Martin Mbeki Moreau Müller Nakamura Nguyen Novák
    O'Brien Okafor Patel Petrov Ricci Rossi Sato Schmidt Silva Singh Tanaka Tran Weber Wójcik Yilmaz Young Zhang
"""
_COUNTRIES = ("DE", "FR", "GB", "US", "ES", "IT", "NL", "PL", "SE", "BR", "IN", "JP")
_CITIES = {"DE": "Leipzig", "FR": "Lyon", "GB": "Leeds", "US": "Portland", "ES": "Valencia", "IT": "Turin"}
_COMPANY_WORDS = "Amber Birch Cobalt Delta Ember Fern Granite Harbor Indigo Juniper Kestrel Lumen"
_COMPANY_TRADES = "Analytics Bakery Ceramics Dental Energy Freight Gardens Logistics Studios Textiles"
#: Plan, and what it costs for each seat and month.
_PLANS = (("starter", 0.0), ("team", 9.0), ("business", 15.5), ("enterprise", 24.0))
_COUPON_WORDS = "WELCOME SPRING SUMMER AUTUMN WINTER COMEBACK LOYAL FRIEND BUNDLE FLASH"

_T = TypeVar("_T")
_Row = dict[str, Any]
_Rows = list[_Row]


def sample_files() -> dict[str, bytes]:
    """The shop's tables by file name, always the same."""
    random = Random(_SEED)
    customers = list(_customers(random))
    coupons = list(_coupons(random))
    orders = list(_orders(random, customers, coupons))
    memberships = _memberships(random, customers)
    return {
        "customers.csv": _csv(customers),
        "orders.parquet": _parquet(orders),
        "accounts.json": _json_lines(list(_accounts(random, memberships))),
        "memberships.csv": _csv(memberships),
        "coupons.json": _json_lines(coupons),
        "devices.csv": _csv(list(_devices(Random(_SEED + 1), customers))),
    }


def _customers(random: Random) -> Iterator[_Row]:
    first_names, last_names = _FIRST_NAMES.split(), _LAST_NAMES.split()
    for number in range(1, _CUSTOMERS + 1):
        first, last = _pick(random, first_names), _pick(random, last_names)
        domain = _pick(random, ("example.com", "example.org", "example.net"))
        yield {
            "customer_id": number,
            "email": _mostly(random, 0.99, f"customer{number}@{domain}"),
            "first_name": first,
            "last_name": _mostly(random, 0.97, last),
            "country": _mostly(random, 0.96, _skewed(random, _COUNTRIES)),
            "signed_up_at": _moment(random, _FIRST_DAY, _LAST_DAY),
            "marketing_consent": _mostly(random, 0.92, str(random.random() < 0.6).lower()),
        }


def _orders(random: Random, customers: _Rows, coupons: _Rows) -> Iterator[_Row]:
    statuses = ("paid",) * 16 + ("refunded", "cancelled", "pending", "pending")
    for number in range(1, _ORDERS + 1):
        customer = _skewed(random, customers)
        yield {
            "order_id": number,
            "customer_id": customer["customer_id"],
            "status": _pick(random, statuses),
            "order_total": Decimal(499 + int(24_000 * random.random() ** 3)).scaleb(-2),
            "coupon_code": _mostly(random, 0.15, _pick(random, coupons)["code"]),
            "ordered_at": _moment(random, customer["signed_up_at"], _LAST_DAY),
        }


def _memberships(random: Random, customers: _Rows) -> _Rows:
    """Who belongs to which account; the first member of each owns it, and some have left."""
    accounts = [f"acc_{number:03}" for number in range(1, 1 + len(_company_names()))]
    roles = ("member",) * 7 + ("admin", "billing", "viewer")
    pairs: dict[tuple[str, int], dict[str, Any]] = {}
    while len(pairs) < _MEMBERSHIPS:
        owns = len(pairs) < len(accounts)
        account = accounts[len(pairs)] if owns else _skewed(random, accounts)
        customer = _pick(random, customers)
        joined_at = _moment(random, customer["signed_up_at"], _LAST_DAY)
        left_on = _mostly(random, 0.07, _moment(random, joined_at, _LAST_DAY).date())
        row = {
            "customer_id": customer["customer_id"],
            "account_id": account,
            "role": "owner" if owns else _pick(random, roles),
            "joined_on": joined_at.date(),
            "left_on": None if owns else left_on,
        }
        pairs.setdefault((account, customer["customer_id"]), row)
    return [pairs[pair] for pair in sorted(pairs)]


def _accounts(random: Random, memberships: _Rows) -> Iterator[_Row]:
    for number, name in enumerate(_company_names(), start=1):
        account = f"acc_{number:03}"
        joined = [row["joined_on"] for row in memberships if row["account_id"] == account]
        country = _pick(random, tuple(_CITIES))
        plan, price = _PLANS[min(len(joined) // 8, len(_PLANS) - 1)]
        yield {
            "account_id": account,
            "name": name,
            "plan": plan,
            "seats": 5 * (1 + len(joined) // 5),
            "price_per_seat": price,
            "billing": {"city": _CITIES[country], "country": country},
            "created_on": min(joined),
        }


def _company_names() -> list[str]:
    return [f"{word} {trade}" for word in _COMPANY_WORDS.split() for trade in _COMPANY_TRADES.split()]


def _coupons(random: Random) -> Iterator[_Row]:
    words = _COUPON_WORDS.split()
    for number in range(_COUPONS):
        word, percent = words[number % len(words)], 5 * (1 + number // len(words))
        countries = [country for country in _COUNTRIES if random.random() < 0.4]
        yield {
            "code": f"{word}-{percent}",
            "description": f"{percent} % off everything",
            "percent_off": percent,
            "countries": countries or None,
            "valid_until": date(2026, 12, 31) + timedelta(days=30 * int(8 * random.random())),
            "withdrawn": random.random() < 0.1,
        }


def _devices(random: Random, customers: _Rows) -> Iterator[_Row]:
    """Phones; some customers have several, and some have not used theirs for long."""
    for _ in range(_DEVICES):
        customer = _skewed(random, customers)
        yield {
            "customer_id": customer["customer_id"],
            "push_token": "".join(_pick(random, "0123456789abcdef") for _ in range(32)),
            "os": _skewed(random, ("Android", "iOS")),
            "app_version": f"{_skewed(random, (5, 4, 3))}.{int(10 * random.random())}",
            "seen_at": _moment(random, customer["signed_up_at"], _LAST_DAY),
        }


def _pick(random: Random, options: Sequence[_T]) -> _T:
    return options[int(len(options) * random.random())]


def _skewed(random: Random, options: Sequence[_T]) -> _T:
    """One of the options, the first ones more often."""
    return options[int(len(options) * random.random() ** 2)]


def _mostly(random: Random, share: float, value: _T) -> _T | None:
    return value if random.random() < share else None


def _moment(random: Random, first: datetime, last: datetime) -> datetime:
    return first + timedelta(seconds=int((last - first).total_seconds() * random.random()))


def _csv(rows: _Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _json_lines(rows: _Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()


_ORDER_TYPES: Mapping[str, pa.DataType] = {
    "order_id": pa.int64(),
    "customer_id": pa.int64(),
    "status": pa.string(),
    "order_total": pa.decimal128(10, 2),
    "coupon_code": pa.string(),
    "ordered_at": pa.timestamp("us"),
}


def _parquet(orders: _Rows) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(orders, schema=pa.schema(_ORDER_TYPES)), file)
    return file.getvalue()


def main() -> None:
    """Write the sample data and the copies of the examples."""
    root = Path(__file__).parents[2]
    for name, content in sample_files().items():
        root.joinpath("syncer/starter/sample_data", name).write_bytes(content)
    for path, content in example_files().items():
        root.joinpath("sync_definitions", path).write_bytes(content)


if __name__ == "__main__":
    main()
