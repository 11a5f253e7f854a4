"""Many events at once, written straight into the table: what checkpoints then have to work through."""

from __future__ import annotations

import psycopg

from adapters.log.recorder import TABLE


def fill(url: str, events: int, *, per_tree: int = 5) -> None:
    """Trees, each planted once and watered a few times, their events mixed as they would be in life."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"""
            INSERT INTO {TABLE} (originator_id, originator_version, topic, state, workspace_id, actor)
            SELECT 'tree-' || tree, version,
                   CASE version WHEN 1 THEN 'core.TreePlanted' ELSE 'core.TreeWatered' END,
                   convert_to(CASE version WHEN 1 THEN format('{{"tree_id":"%%s","kind":"apple"}}', tree)
                                           ELSE format('{{"tree_id":"%%s","litres":3}}', tree) END, 'UTF8'),
                   'w' || tree %% 100, 'bench'
            FROM (SELECT (n / ({per_tree} * 100)) * 100 + n %% 100 AS tree, (n / 100) %% {per_tree} + 1 AS version, n
                  FROM generate_series(0, %s) AS n) AS e ORDER BY n
            """.encode(),
            (events - 1,),
        )
        connection.execute(f"VACUUM ANALYZE {TABLE}")
