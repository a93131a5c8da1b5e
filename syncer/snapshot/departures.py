"""Whom rows have left: people who got a row by an identifier that names somebody else by now, or nobody."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from syncer.model.types import Action
from syncer.snapshot.session import Session

#: As `NumbersPeople.whereabouts`, for the target of the sync.
Whereabouts = Callable[[pa.Table], pa.Table]


def address_removals(session: Session, whereabouts: Whereabouts | None) -> tuple[int, int]:
    """Let each removal reach the person who got the row, and nobody else.

    Changes `changes`: removals get their `person`; people whom rows have left without a removal are added as removals;
    what needs none moves to `departed`. A person whom another row of the result names now has not left, and one whom
    the removal of another row reaches is not removed twice.

    Shapes:
        returns: how many people rows have left without a removal; how many removals find nobody for sure.
        departed: k…, person: rows that the snapshot is to forget (NULL), and people that `left_behind` is.
        vanished: k…, person: of rows in doubt, people who are gone; whoever gets the row now is somebody else.
    """
    k = session.k
    session.execute(f"CREATE OR REPLACE TEMP TABLE departed AS SELECT {k}, person FROM left_behind LIMIT 0")
    session.execute("CREATE OR REPLACE TEMP TABLE vanished AS FROM departed")
    left = 0
    if whereabouts is not None and _find_people(session):
        _look_up(session, whereabouts)
        session.execute(
            f"INSERT INTO vanished SELECT {k}, person FROM whereabouts WHERE origin = 'moved' AND NOT person_exists"
        )
        session.execute(
            "UPDATE changes SET person = w.person FROM whereabouts w WHERE changes.change = 'removed' "
            f"AND w.origin = 'removed' AND NOT w.is_covered AND {session.same_keys('changes', 'w')}"
        )
        same = "".join(f" AND c.{key} = w.{key}" for key in session.keys[1:])
        is_reached = f"EXISTS (SELECT 1 FROM changes c WHERE c.change = 'removed' AND c.person = w.person{same})"
        session.execute(
            f"INSERT INTO departed SELECT {k}, CASE WHEN origin = 'left' THEN person END FROM whereabouts w "
            "WHERE (origin = 'removed' AND is_covered) "
            f"OR (origin = 'left' AND (is_covered OR NOT person_exists OR {is_reached}))"
        )
        left = session.count(
            f"INSERT INTO changes SELECT DISTINCT {k}, 'removed', NULL::BIGINT, person, NULL FROM whereabouts w "
            f"WHERE origin <> 'removed' AND person_exists AND NOT is_covered AND NOT {is_reached}"
        )
        session.execute(
            f"DELETE FROM changes USING departed d WHERE change = 'removed' AND changes.person IS NULL "
            f"AND d.person IS NULL AND {session.same_keys('changes', 'd')}"
        )
    return left, _spare_strangers(session)


def _find_people(session: Session) -> bool:
    """Fill `pairs` with the rows that may have left the person who got them; returns whether there are any."""
    k = session.k
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT {k}, s.person, 'removed' AS origin FROM snapshot s "
        f"JOIN (SELECT {k} FROM changes WHERE change = 'removed') USING ({k}) WHERE s.person IS NOT NULL "
        f"UNION ALL SELECT {k}, person, 'moved' FROM snapshot SEMI JOIN in_doubt USING ({k}) "
        f"SEMI JOIN staged USING ({k}) WHERE person IS NOT NULL "
        f"UNION ALL SELECT {k}, person, 'left' FROM left_behind"
    )
    return session.any("SELECT 1 FROM pairs")


def _look_up(session: Session, whereabouts: Whereabouts) -> None:
    """Make `whereabouts` of `pairs`, with person_exists; is_covered where a row of the result names the person."""
    found = whereabouts(session.connection.sql("SELECT DISTINCT k1, person FROM pairs ORDER BY 2").to_arrow_table())
    session.connection.register("found", found)
    k, others = session.k, "".join(f" AND r.{key} = p.{key}" for key in session.keys[1:])
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE whereabouts AS WITH result AS (SELECT {k} FROM staged "
        f"UNION ALL SELECT {k} FROM snapshot ANTI JOIN gone USING ({k}) UNION ALL SELECT {k} FROM quarantined) "
        f"SELECT {session.keys_of('p')}, p.person, p.origin, f.is_there AS person_exists, "
        f"f.is_there AND EXISTS (SELECT 1 FROM result r WHERE r.k1 = f.known_as{others}) AS is_covered "
        "FROM pairs p JOIN found f ON f.k1 = p.k1 AND f.person = p.person"
    )
    session.connection.unregister("found")
    session.execute("DROP TABLE pairs")


def _spare_strangers(session: Session) -> int:
    """Drop removals by an identifier that moved since the row was sent, where nobody knows to whom it went."""
    k = session.k
    session.execute(
        f"INSERT INTO departed SELECT {k}, NULL FROM changes SEMI JOIN (SELECT {k} FROM in_doubt WHERE moved) "
        f"USING ({k}) WHERE change = 'removed' AND person IS NULL"
    )
    return session.count(
        "DELETE FROM changes USING in_doubt d WHERE d.moved AND change = 'removed' AND changes.person IS NULL "
        f"AND {session.same_keys('changes', 'd')}"
    )


def forget(session: Session) -> None:
    """Drop from the ledger's tables what `departed` and `vanished` name; part of the caller's transaction."""
    same = session.same_keys("snapshot", "v")
    session.execute(f"UPDATE snapshot SET person = NULL FROM vanished v WHERE v.person = snapshot.person AND {same}")
    for table in ("snapshot", "in_doubt", "kept"):
        same = session.same_keys(table, "d")
        session.execute(f"DELETE FROM {table} USING departed d WHERE d.person IS NULL AND {same}")
    same = session.same_keys("left_behind", "d")
    session.execute(f"DELETE FROM left_behind USING departed d WHERE d.person = left_behind.person AND {same}")


def leave_to_rows(session: Session) -> None:
    """Leave to a key's own row what is in `answered`: that its former person was reached says nothing of it."""
    k = session.k
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT {k}, verdict, reason FROM outbox o LEFT JOIN verdicts "
        f"USING (seq) WHERE action = '{Action.PUT}' OR NOT EXISTS "
        f"(SELECT 1 FROM outbox p WHERE p.action = '{Action.PUT}' AND {session.same_keys('o', 'p')})"
    )
