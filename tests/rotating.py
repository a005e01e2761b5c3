"""An S3 server and a role of PostgreSQL whose secrets are replaced while they are used, and files that hold them."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from duckdb_extensions import import_extension

from emolake.demo.s3_server import serve_s3

from chaos.servers import new_database


class Rotating:
    """Both servers; `environment` is what a process needs to find the files, which hold the only secrets."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self.folder, self._postgres = folder, postgres
        self.role = f"rotated_{secrets.token_hex(4)}"
        self.buckets = folder / "s3"
        self._servers, self._port = ExitStack(), 0
        self.used: list[str] = []
        """Every secret that there has been."""
        for bucket in ("calls", "lake"):
            (self.buckets / bucket).mkdir(parents=True)
        self._alter(f"CREATE ROLE {self.role} LOGIN")
        database = new_database(postgres, self.role)
        self._alter(f'GRANT ALL ON DATABASE "{self.role}" TO {self.role}')
        self._alter(f"GRANT ALL ON SCHEMA public TO {self.role}", database)
        self._require_password()
        self.catalog = f"postgres:{database.replace('user=postgres', f'user={self.role}')}"
        self.replace_on_servers()
        self.replace_in_files()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that name the files."""
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "aws"),
            "PGPASSFILE": str(self.folder / "pgpass"),
        }

    @property
    def configuration(self) -> dict[str, dict[str, str]]:
        """Sections of a configuration."""
        return {
            "source": {"uri": "s3://calls", "endpoint_url": self.url},
            "warehouse": {
                "catalog": self.catalog, "data": "s3://lake/data", "endpoint_url": self.url, "addressing": "path"
            },
        }  # fmt: skip

    def replace_on_servers(self) -> None:
        """Let the servers take new secrets and no others; the files still say the old ones."""
        secret = secrets.token_hex(16)
        self.used.append(secret)
        self._servers.close()
        server = serve_s3(self.buckets, access_key=f"key-{secret[:8]}", secret_key=secret, port=self._port)
        self.url = self._servers.enter_context(server)
        self._port = urlsplit(self.url).port or 0
        self._alter(f"ALTER ROLE {self.role} PASSWORD '{secret}'")

    def replace_in_files(self) -> None:
        """Write the newest secrets."""
        secret = self.used[-1]
        (self.folder / "aws").write_text(
            f"[default]\naws_access_key_id = key-{secret[:8]}\naws_secret_access_key = {secret}\n"
        )
        pgpass = self.folder / "pgpass"
        pgpass.write_text(f"*:*:*:{self.role}:{secret}\n")
        pgpass.chmod(0o600)

    def close(self) -> None:
        self._servers.close()

    def _require_password(self) -> None:
        """Let the role be asked for its password, before the rule that trusts everybody."""
        ((file,),) = self._rows("SELECT current_setting('hba_file')")
        rules = Path(file)
        rules.write_text(f"local all {self.role} scram-sha-256\n{rules.read_text()}")
        self._rows("SELECT pg_reload_conf()")

    def _alter(self, sql: str, database: str | None = None) -> None:
        with self._connected(database) as connection:
            connection.execute("CALL postgres_execute('server', ?)", [sql])

    def _rows(self, sql: str) -> list[tuple[str, ...]]:
        with self._connected(None) as connection:
            return connection.execute("FROM postgres_query('server', ?)", [sql]).fetchall()

    @contextmanager
    def _connected(self, database: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
        import_extension("postgres_scanner")
        with duckdb.connect() as connection:
            connection.execute("LOAD postgres_scanner")
            connection.execute(f"ATTACH '{database or self._postgres}' AS server (TYPE postgres)")
            yield connection


@contextmanager
def rotating(folder: Path, postgres: str) -> Iterator[Rotating]:
    """Run both, on the PostgreSQL server at a URI; the S3 server ends with the block."""
    made = Rotating(folder, postgres)
    try:
        yield made
    finally:
        made.close()
