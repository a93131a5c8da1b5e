"""What `--help` shows below the options of a command: examples, and exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncer.cli.exit_codes import MEANINGS

#: Command to its examples: words, and what they do.
EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "init": [
        ("syncer init shop", "the examples, in the folder shop"),
        ("syncer init --warehouse postgresql://reader@db/shop", "a project for a warehouse, here"),
    ],
    "new": [
        ("syncer new loyalty", "ask what is needed"),
        ("syncer new loyalty --entity person --person id=customer_id --from orders", "ask nothing"),
    ],
    "validate": [
        ("syncer validate", "check every file"),
        ("syncer validate --connect 'shop_*'", "ask the warehouse too"),
    ],
    "list": [("syncer list", "every sync"), ("syncer list result:failed --json", "those that failed, for a script")],
    "plan": [
        ("syncer plan customers", "what a run would send"),
        ("syncer plan tag:daily --rows 0", "counts alone"),
        ("syncer plan customers --save", "keep it, for a run that sends exactly this"),
        ("syncer plan customers --export changes.csv", "all rows, for a spreadsheet"),
    ],
    "plans": [("syncer plans", "those that can be run or were used")],
    "run": [
        ("syncer run customers", "one sync"),
        ("syncer run --all --exclude tag:slow", "every sync but some"),
        ("syncer run customers --row 42", "one row, changed or not"),
        ("syncer run customers --allow removed=8000", "though a limit would hold it, but no more rows"),
    ],
    "serve": [("syncer serve", "until a signal stops it"), ("syncer serve --host 0.0.0.0 --port 80", "for others too")],
    "worker": [
        ("syncer worker", "four syncs at a time, until a signal stops it"),
        ("syncer worker --concurrency 2 --queues heavy", "those of one queue"),
    ],
    "workers": [("syncer workers", "and what each runs"), ("syncer workers --json", "for scripts")],
    "verify": [
        ("syncer verify customers", "1,000 rows"),
        ("syncer verify customers --all --repair", "every row, and repair"),
    ],
    "runs": [("syncer runs", "the newest of all syncs"), ("syncer runs customers --limit 5", "the newest of one")],
    "rejected": [
        ("syncer rejected", "of every sync"),
        ("syncer rejected customers members --reason 'is NULL' --csv", "some of two, as a file"),
        ("syncer rejected customers --acknowledge 'test accounts' --until 7d", "count no more for a week"),
    ],
    "explain-error": [
        ("syncer explain-error 20261129T192306507-4eb531", "the line, and a query that finds the row"),
        ("syncer explain-error 20261129T192306507-4eb531 --json", "the same for a script"),
    ],
    "cancel": [
        ("syncer cancel customers", "wait for the end of its run"),
        ("syncer cancel '*' --wait 0", "all; do not wait"),
    ],
    "pause": [("syncer pause tag:crm", "several syncs")],
    "resume": [("syncer resume tag:crm", "several syncs")],
    "reset": [("syncer reset customers", "ask first"), ("syncer reset customers --yes", "do not ask")],
    "connections": [("syncer connections --test", "connect to each one")],
    "alerts": [
        ("syncer alerts --test", "send a test notice"),
        ("syncer alerts mute customers --until 12h --reason 'a migration'", "no notice for half a day"),
    ],
    "schema": [
        ("syncer schema > sync.schema.json", "for an editor"),
        ("syncer schema attributes > attributes.schema.json", "for attributes.yml"),
    ],
    "completion": [("syncer completion bash >> ~/.bashrc", "for every new bash")],
    "lsp": [("syncer lsp", "by an editor, which speaks to it")],
    "docs": [("syncer docs", "the contents"), ("syncer docs commands", "one topic")],
    "show person": [("syncer show person 42", "by id"), ("syncer show person ann@example.com --by email", "by email")],
    "show object": [("syncer show object account acc_001", "an account")],
    "show events": [
        ("syncer show events order_paid --since 2026-11-01", "who has paid since then, the most often first"),
        ("syncer show events order_paid --since 2026-11-01 --at-least 3 --json", "for a script"),
    ],
    "show collection": [
        ("syncer show collection coupons", "its first rows"),
        ("syncer show collection coupons A1", "one row"),
    ],
    "explain person": [
        ("syncer explain person 42", "by id"),
        ("syncer explain person ann@example.com --by email --sync loyalty", "what one sync did"),
        ("syncer explain person 42 --now", "ask the warehouse too"),
    ],
    "explain object": [("syncer explain object account acc_001", "an account")],
    "explain relationship": [("syncer explain relationship 42 account acc_001", "a person in an account")],
    "explain device": [("syncer explain device 42 fcm-7f3a", "a device of a person, by its token")],
    "explain event": [("syncer explain event order_paid 1042", "an event, and whose it is")],
    "explain collection": [("syncer explain collection coupons A1", "one row")],
    "duplicates person": [
        ("syncer duplicates person --by email", "the first pairs"),
        ("syncer duplicates person --by name+birthday --json > duplicates.jsonl", "all of them, for SQL"),
    ],
    "forget person": [
        ("syncer forget person --id 42", "delete and suppress them"),
        ("syncer forget person --email ada@example.com --allow-return", "delete them only"),
        ("syncer forget person --phone +4915123456789", "by phone"),
    ],
    "snapshot list": [
        ("syncer snapshot list", "every snapshot"),
        ("syncer snapshot list 'orders_*' --json", "those of some syncs, for scripts"),
    ],
    "snapshot move": [
        ("syncer snapshot move customers --to database", "to the database of the run log"),
        ("syncer snapshot move '*' --to s3://company/syncer", "all of them, to a bucket"),
        ("syncer snapshot move customers --to local", "to this machine alone"),
    ],
    "snapshot check": [("syncer snapshot check '*'", "every snapshot")],
}

#: Command to the codes that it may exit with, beside 0, 2 and those of signals.
_CODES: Mapping[str, Sequence[int]] = {
    "plan": (1, 3, 4),
    "run": (1, 3, 4),
    "rejected": (1, 3, 4),
    "serve": (4,),
    "verify": (1, 4),
    "cancel": (4,),
    "reset": (4,),
    "connections": (1,),
    "alerts": (1,),
    "validate": (1,),
    "show person": (1,),
    "show object": (1,),
    "show collection": (1,),
    "explain person": (1, 4),
    "explain object": (1, 4),
    "explain relationship": (1, 4),
    "explain device": (1, 4),
    "explain event": (1, 4),
    "explain collection": (1, 4),
    "duplicates person": (1,),
    "forget person": (1, 4),
    "snapshot move": (1, 4),
    "snapshot check": (1, 4),
}


def exit_codes(command: str) -> list[tuple[str, str]]:
    """The codes that a command may exit with, and what each means."""
    codes = sorted({0, 2, *_CODES.get(command, ())}) + [code for code in MEANINGS if code > 100]
    return [(str(code), MEANINGS[code]) for code in codes]
