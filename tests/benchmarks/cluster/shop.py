"""What the cluster runs: a warehouse whose rows change meanwhile, the syncs over it, and the store that they feed."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from pathlib import Path

import psycopg

#: Of each sync, but for the first one, which has more rows than two of the store's batches.
ROWS, MANY_ROWS = 200, 25_000

#: Seconds between two changes, and between two of every row of the first sync.
_PAUSE, _LONG_PAUSE = 0.4, 15

_HEADER = """/* sync
entity: object
object: {{type: {name}, id: id}}
on_removed: delete
limits: {{removed: 100%, changed: 100%}}
*/
SELECT id, value FROM items CROSS JOIN (SELECT pg_sleep({seconds})) AS waited WHERE sync = {number}
"""

#: Appends to a log, as the last thing before each commit, which run writes; and for each statement, what was written.
_LOGS = """
CREATE TABLE logged_fences (
    seq bigserial PRIMARY KEY, transaction xid8 NOT NULL, sync text NOT NULL, taken bigint NOT NULL,
    run_id text NOT NULL, at timestamptz NOT NULL
);
CREATE TABLE logged_writes (transaction xid8 NOT NULL, object_type text NOT NULL, rows bigint NOT NULL);
CREATE FUNCTION wait_at_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF random() < 0.3 THEN PERFORM pg_sleep(random()); END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION log_fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO logged_fences (transaction, sync, taken, run_id, at) VALUES (
        pg_current_xact_id(), NEW.sync, NEW.taken,
        -- Who only shuts older runs out writes no row, and leaves the id of the run that wrote last.
        CASE WHEN TG_OP = 'UPDATE' AND OLD.run_id = NEW.run_id AND OLD.taken <> NEW.taken THEN '' ELSE NEW.run_id END,
        clock_timestamp()
    );
    RETURN NULL;
END $$;
CREATE FUNCTION log_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO logged_writes
    SELECT pg_current_xact_id(), object_type, count(*) FROM written GROUP BY object_type;
    RETURN NULL;
END $$;
CREATE TRIGGER waits AFTER INSERT OR UPDATE ON sync_fences FOR EACH ROW EXECUTE FUNCTION wait_at_fence();
CREATE CONSTRAINT TRIGGER logged AFTER INSERT OR UPDATE ON sync_fences DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION log_fence();
CREATE TRIGGER inserted AFTER INSERT ON objects REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION log_write();
CREATE TRIGGER updated AFTER UPDATE ON objects REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION log_write();
CREATE TRIGGER deleted AFTER DELETE ON objects REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION log_write();
"""


def name_of(number: int) -> str:
    """A sync's name, which is also the type of its objects."""
    return f"kind_{number:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A warehouse of one table, and a store."""

    warehouse: str
    store: str
    syncs: int

    def open(self, definitions: Path, choice: random.Random) -> None:
        """Fill the warehouse, and write the syncs: the query of every second one takes a while."""
        with psycopg.connect(self.warehouse, autocommit=True) as connection:
            connection.execute("CREATE TABLE items (sync int, id bigint, value bigint, PRIMARY KEY (sync, id))")
            for number in range(self.syncs):
                values = [number, ROWS if number else MANY_ROWS]
                connection.execute("INSERT INTO items SELECT %s, i, 0 FROM generate_series(1, %s) AS i", values)
        definitions.mkdir()
        for number in range(self.syncs):
            seconds = round(choice.uniform(0.5, 2), 2) if number % 2 else 0
            text = _HEADER.format(name=name_of(number), number=number, seconds=seconds)
            (definitions / f"{name_of(number)}.sql").write_text(text)

    def log_writes(self) -> None:
        """Let the store log from now on who writes to it, and let some transactions take up to a second more."""
        with psycopg.connect(self.store, autocommit=True) as connection:
            connection.execute(_LOGS)

    def change(self, choice: random.Random, stopped: threading.Event) -> None:
        """Change, add and remove rows until told to stop."""
        turn, turns_until_all = 0, round(_LONG_PAUSE / _PAUSE)
        with psycopg.connect(self.warehouse, autocommit=True) as connection:
            while not stopped.wait(_PAUSE):
                turn += 1
                sync = choice.randrange(self.syncs)
                with connection.transaction():
                    self._change(connection, sync, turn, choice)
                    if turn % turns_until_all == 0:
                        connection.execute("UPDATE items SET value = %s WHERE sync = 0", [turn])

    def _change(self, connection: psycopg.Connection, sync: int, turn: int, choice: random.Random) -> None:
        of_ten, most = choice.randrange(10), ROWS + 10 * turn
        connection.execute("UPDATE items SET value = %s WHERE sync = %s AND id %% 10 = %s", [turn, sync, of_ten])
        gone = [choice.randrange(1, most) for _ in range(5)]
        connection.execute("DELETE FROM items WHERE sync = %s AND id = ANY(%s)", [sync, gone])
        # Some of them were there before, and were removed.
        come = [choice.randrange(1, most) for _ in range(5)]
        connection.execute(
            "INSERT INTO items SELECT %s, unnest(%s::bigint[]), %s ON CONFLICT DO NOTHING", [sync, come, turn]
        )

    def differences(self) -> list[str]:
        """The rows in which the store is not what the queries say, a few of each sync."""
        with psycopg.connect(self.warehouse) as warehouse, psycopg.connect(self.store) as store:
            expected = {
                (name_of(sync), str(id_)): value
                for sync, id_, value in warehouse.execute("SELECT sync, id, value FROM items")
            }
            stored = {
                (kind, id_): value
                for kind, id_, value in store.execute(
                    "SELECT object_type, object_id, CAST(attributes ->> 'value' AS bigint) FROM objects"
                )
            }
        return [
            f"{kind} {id_}: {stored.get((kind, id_), 'not there')} in the store, {expected.get((kind, id_), 'gone')}"
            for kind, id_ in sorted(expected.keys() | stored.keys())
            if stored.get((kind, id_), -1) != expected.get((kind, id_), -1)
        ]
