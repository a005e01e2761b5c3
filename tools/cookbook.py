"""Write the output of every query of docs/cookbook.md below it, from the lake that tools/cookbook_lake.py makes.

`python -m tools.cookbook` writes the page again, and `--check` exits with 1 where it is not what it would write.
"""

import argparse
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

from emolake.lake.questions import ask
from emolake.output.table import print_table
from tools.cookbook_lake import fill, plain_lake

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"
_QUERY = re.compile(r"```sql\n(?P<sql>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)


def queries(page: str) -> list[str]:
    """Return the queries of a page.

    >>> queries("```sql\\nSELECT 1\\n```\\n")
    ['SELECT 1\\n']
    """
    return [each["sql"] for each in _QUERY.finditer(page)]


def written(page: str, output: Callable[[str], str]) -> str:
    """Return the page with the output of each query in a block below it, in the place of what was there.

    >>> print(written("```sql\\nSELECT 1\\n```\\n", lambda sql: "1\\n"), end="")
    ```sql
    SELECT 1
    ```
    <BLANKLINE>
    ```text
    1
    ```
    """
    return _QUERY.sub(lambda each: f"```sql\n{each['sql']}```\n\n```text\n{output(each['sql'])}```\n", page)


def shown(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the answer to a query as `emolake query` prints it."""
    answer = ask(connection, sql)
    stream = io.StringIO()
    print_table([column[0] for column in answer.description or ()], answer.fetchall(), stream)
    return re.sub(r" +\n", "\n", stream.getvalue())


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    check = parser.parse_args().check
    page = PAGE.read_text("utf-8")
    with plain_lake() as connection:
        fill(connection)
        made = written(page, lambda sql: shown(connection, sql))
    if not check:
        PAGE.write_text(made, "utf-8")
    elif made != page:
        sys.exit(f"{PAGE.name} is not up to date; run: python -m tools.cookbook")


if __name__ == "__main__":
    main()
