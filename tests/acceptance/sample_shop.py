"""A shop in PostgreSQL in the shape of the public Chinook database, and what happens there from day to day."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

CUSTOMERS = 300

TABLES = """
CREATE TABLE employee (employee_id int PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, hired date);
CREATE TABLE customer (
    customer_id int PRIMARY KEY, first_name text NOT NULL, last_name text, company text, city text, country text,
    email text, support_rep_id int REFERENCES employee, reference uuid NOT NULL, tags text[], preferences jsonb,
    credit numeric(12, 4), score double precision, joined_at timestamptz, newsletter boolean
);
CREATE TABLE invoice (
    invoice_id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customer ON DELETE CASCADE,
    invoiced_at timestamp NOT NULL
);
CREATE TABLE invoice_line (
    invoice_line_id int PRIMARY KEY, invoice_id int NOT NULL REFERENCES invoice ON DELETE CASCADE,
    genre_id int, unit_price numeric(10, 2) NOT NULL, quantity int NOT NULL
);
CREATE TABLE genre (genre_id int PRIMARY KEY, name text, cover bytea);
"""

NAMES = ("José", "Zoe\u0308", "Đorđe", "李娜", "أحمد", 'Ann "Q"', "O'Neil", "back\\slash", "👩‍🚀", "a,b\nc", " ", "")
WORDS = ("Größe & Söhne", "Café du Mo\u0301nde", "日本電気", "Acme, Inc.", "{curly}", "50%", "<b>", "\u202eright")


@dataclass
class Shop:
    """The sample database and who changes it."""

    connection: psycopg.Connection
    chance: random.Random
    _numbers: dict[str, int] = field(default_factory=dict)

    def next(self, table: str) -> int:
        """A new number for a row of *table*."""
        self._numbers[table] = self._numbers.get(table, 0) + 1
        return self._numbers[table]

    def execute(self, sql: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(sql, values)
        return cursor.fetchall() if cursor.description else []

    def some(self, table: LiteralString, share: float) -> list[int]:
        """The keys of a share of a table's rows."""
        keys = [key for (key,) in self.execute(f"SELECT {table}_id FROM {table} ORDER BY 1")]
        return self.chance.sample(keys, max(1, int(len(keys) * share)))

    def maybe(self, value: Callable[[], Any], chance: float = 0.7) -> Any:
        return value() if self.chance.random() < chance else None

    def amount(self, digits: int = 2, largest: int = 10**5) -> Decimal:
        return Decimal(self.chance.randrange(-largest, largest)).scaleb(-digits)

    def moment(self) -> datetime:
        return datetime(2009, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.chance.randrange(10**15))

    def company(self) -> str:
        return f"{self.chance.choice(WORDS)} {self.chance.randrange(8)}"

    def preferences(self) -> Jsonb:
        choice = self.chance.choice
        known = {"theme": choice(["dark", None, "ünï"]), "rate": [1, choice([0.1, 2.50, 1e22]), {"deep": [[], {}]}]}
        return Jsonb(choice([known, [], {}, "text", 7, True, {"": None, "a.b": choice(NAMES)}]))

    def customer(self, key: int) -> None:
        """A new customer with some invoices."""
        pick = self.chance.choice
        self.execute(
            f"INSERT INTO customer VALUES ({', '.join(['%s'] * 15)})",
            key,
            pick(NAMES),
            self.maybe(lambda: pick(NAMES)),
            self.maybe(self.company, 0.4),
            self.maybe(lambda: pick(WORDS)),
            self.maybe(lambda: pick(["Chile", "Österreich", "France", "日本"]), 0.9),
            self.maybe(lambda: f"{pick(['Ann', 'bob', 'ÇELİK'])}{key % 90}@Example.com"),
            self.maybe(lambda: self.chance.randrange(1, 6)),
            uuid.UUID(int=self.chance.getrandbits(128)),
            self.maybe(lambda: [pick([*WORDS, None]) for _ in range(self.chance.randrange(4))]),
            self.maybe(self.preferences),
            self.maybe(lambda: self.amount(4, 10**11)),
            self.maybe(lambda: pick([0.1, -1e-7, 1 / 3, 2.0**53, float("nan"), 1e300])),
            self.maybe(self.moment),
            self.maybe(lambda: pick([True, False]), 0.9),
        )
        for _ in range(self.chance.randrange(5)):
            self.invoice(key)

    def invoice(self, customer: int) -> None:
        invoice = self.next("invoice")
        self.execute("INSERT INTO invoice VALUES (%s, %s, %s)", invoice, customer, self.moment().replace(tzinfo=None))
        for _ in range(self.chance.randrange(1, 6)):
            line = (self.next("invoice_line"), invoice, self.chance.randrange(1, 26), self.amount(2, 3000))
            self.execute("INSERT INTO invoice_line VALUES (%s, %s, %s, %s, %s)", *line, self.chance.randrange(1, 4))

    def genre(self) -> None:
        name, cover = self.maybe(lambda: self.chance.choice(WORDS)), self.maybe(lambda: self.chance.randbytes(20))
        self.execute("INSERT INTO genre VALUES (%s, %s, %s)", self.next("genre"), name, cover)

    def open(self) -> None:
        """Make the tables and fill them."""
        self.connection.execute(TABLES)
        with self.connection.pipeline():
            for number in range(1, 6):
                name = (NAMES[number], "X", date(2002, 8, 14))
                self.execute("INSERT INTO employee VALUES (%s, %s, %s, %s)", number, *name)
            for _ in range(25):
                self.genre()
            for _ in range(CUSTOMERS):
                self.customer(self.next("customer"))

    def trade(self) -> None:
        """Let customers come, go and come back, change, move between companies, buy and cancel; and genres too."""
        gone = self.some("customer", 0.05)
        self.execute("DELETE FROM customer WHERE customer_id = ANY(%s)", gone)
        for key in gone[::2]:
            self.customer(key)
        for _ in range(10):
            self.customer(self.next("customer"))
        for key in self.some("customer", 0.04):
            self.execute("UPDATE customer SET city = NULL, tags = tags || ARRAY['x'] WHERE customer_id = %s", key)
        for key in self.some("customer", 0.04):
            changed = (self.preferences(), self.amount(4), self.maybe(self.moment))
            self.execute(
                "UPDATE customer SET preferences = %s, credit = %s, joined_at = %s WHERE customer_id = %s",
                *changed,
                key,
            )
        for key in self.some("customer", 0.06):
            self.execute("UPDATE customer SET company = %s WHERE customer_id = %s", self.maybe(self.company), key)
        for key in self.some("customer", 0.06):
            self.execute(
                "UPDATE customer SET newsletter = NOT newsletter, email = upper(email) WHERE customer_id = %s", key
            )
        for key in self.some("customer", 0.05):
            self.invoice(key)
        self.execute("DELETE FROM invoice WHERE invoice_id = ANY(%s)", self.some("invoice", 0.02))
        self.execute("DELETE FROM genre WHERE genre_id = ANY(%s)", self.some("genre", 0.08))
        self.execute("UPDATE genre SET name = NULL, cover = '' WHERE genre_id = ANY(%s)", self.some("genre", 0.08))
        self.genre()
        self.execute(
            "UPDATE employee SET last_name = last_name || 'y' WHERE employee_id = %s", self.chance.randrange(1, 6)
        )
