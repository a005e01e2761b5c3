"""How other programs open this lake: the very lines, without a secret, and the versions that they need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from emolake.lake.warehouse import WarehouseOptions
from emolake.sql import literal

_ACCESS = {
    "KEY_ID": "AWS_ACCESS_KEY_ID",
    "SECRET": "AWS_SECRET_ACCESS_KEY",
    "SESSION_TOKEN": "AWS_SESSION_TOKEN",
}


@dataclass(frozen=True)
class Recipes:
    """The lines for one configuration.

    >>> warehouse = WarehouseOptions(catalog="postgres:dbname=lake password=hunter2", data="/lake/data")
    >>> recipes = Recipes(warehouse, "UTC", "/lake/analytics.duckdb", {})
    >>> print(recipes.attach, recipes.needs)
    ATTACH 'ducklake:postgres:dbname=lake' AS lake (DATA_PATH '/lake/data', READ_ONLY) ['PGPASSWORD']
    """

    warehouse: WarehouseOptions
    timezone: str
    published: str
    place: Mapping[str, str]
    """What a secret says of S3 beside the keys: region, endpoint and so on; see `s3_secret.place_of_s3`."""

    @property
    def duckdb(self) -> str:
        """The version of DuckDB that wrote the lake."""
        return version("duckdb")

    @property
    def extensions(self) -> list[str]:
        """The extensions by the names that LOAD knows."""
        on_s3 = ["httpfs"] if self.warehouse.is_on_s3 else []
        return ["ducklake", f"{self.warehouse.parsed_catalog.kind}_scanner", *on_s3]

    @property
    def attach(self) -> str:
        """The statement that attaches the lake read-only."""
        catalog = self.warehouse.parsed_catalog
        options = [f"DATA_PATH {literal(self.warehouse.data)}", "READ_ONLY"]
        if catalog.kind == "sqlite":
            options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
        return f"ATTACH {literal(f'ducklake:{catalog.without_password()}')} AS lake ({', '.join(options)})"

    @property
    def needs(self) -> list[str]:
        """The names of the environment variables that hold the secrets."""
        password = ["PGPASSWORD"] if self.warehouse.parsed_catalog.kind == "postgres" else []
        return password + (list(_ACCESS.values()) if self.warehouse.is_on_s3 else [])

    def sql(self, variable: Callable[[str], str] | None = None) -> list[str]:
        """Return the statements, extensions included.

        Args:
            variable: writes the value of an environment variable; without, the AWS chain is asked, by an extension.
        """
        lines = [f"INSTALL {name}; LOAD {name};" for name in self.extensions]
        if self.warehouse.is_on_s3 and variable is None:
            lines.append("INSTALL aws; LOAD aws;")
        lines.append(f"SET TimeZone = {literal(self.timezone)};")
        if self.warehouse.is_on_s3:
            lines.append(f"{self.secret(variable)};")
        return [*lines, f"{self.attach};", "USE lake;"]

    def secret(self, variable: Callable[[str], str] | None = None) -> str:
        """Return the statement that gives access to the bucket; see `sql`."""
        keys = (
            ["PROVIDER credential_chain"]
            if variable is None
            else [f"{name} {variable(source)}" for name, source in _ACCESS.items()]
        )
        place = [f"{name} {literal(value)}" for name, value in self.place.items()]
        return f"CREATE SECRET lake_data (TYPE s3, {', '.join([*keys, *place])})"


def recipe(tool: str, recipes: Recipes) -> str:
    """Return the lines for a program."""
    return "\n".join(_TOOLS[tool](recipes))


def tools() -> tuple[str, ...]:
    """Return the programs that there are lines for."""
    return tuple(_TOOLS)


def _python(of: Recipes) -> list[str]:
    wheels = [f"duckdb-extension-{name.replace('_', '-')}=={of.duckdb}" for name in of.extensions]
    lines = [
        *_secrets("#", of),
        f"# pip install duckdb=={of.duckdb} duckdb-extensions=={of.duckdb} {' '.join(wheels)} pytz",
        *(["import os"] if of.warehouse.is_on_s3 else []),
        "import duckdb",
        "from duckdb_extensions import import_extension",
        "",
        "lake = duckdb.connect()",
        f"for name in {of.extensions!r}:".replace("'", '"'),
        "    import_extension(name, con=lake)  # or, from DuckDB's server: lake.install_extension(name)",
        "    lake.load_extension(name)",
        _executed(f"SET TimeZone = {literal(of.timezone)}"),
    ]
    if of.warehouse.is_on_s3:
        lines += [
            "keys = {",
            *(f'    "{name}": os.environ.get("{source}", ""),' for name, source in _ACCESS.items()),
        ]
        lines += ["}", 'given = ", ".join(f"{name} \'{value}\'" for name, value in keys.items())']
        place = "".join(f", {name} {literal(value)}" for name, value in of.place.items())
        lines.append(f'lake.execute("CREATE SECRET lake_data (TYPE s3, " + given + {_double(f"{place})")})')
    return [
        *lines,
        _executed(of.attach),
        _executed("USE lake"),
        'print(lake.sql("FROM daily_emotions LIMIT 5"))',
        "",
        "# Where emolake is installed, with all of that done:",
        '# import emolake; emolake.open_lake("emolake.toml")',
    ]


def _duckdb(of: Recipes) -> list[str]:
    return [
        *_secrets("--", of),
        f"-- duckdb {of.duckdb}, for example: pip install duckdb-cli=={of.duckdb}",
        *of.sql(lambda name: f"getenv('{name}')"),
        "FROM daily_emotions LIMIT 5;",
    ]


def _dbeaver(of: Recipes) -> list[str]:
    return [
        "The published file (`emolake publish` writes it), which any version of the driver opens:",
        "  New connection: DuckDB; Path:",
        f"    {of.published}",
        "  Driver properties: duckdb.read_only = true",
        "",
        f"The lake itself, with the driver org.duckdb:duckdb_jdbc of {of.duckdb}:",
        "  Path: :memory:",
        "  Connection settings, Initialization, Bootstrap queries:",
        *_indented(of.sql(), 4),
        *_secrets("  #", of, where="in the environment that DBeaver is started in"),
    ]


def _metabase(of: Recipes) -> list[str]:
    return [
        "The driver is MotherDuck's metabase_duckdb_driver, in Metabase's folder plugins. The published file",
        "(`emolake publish` writes it), which any version of the driver opens:",
        "  Database file:",
        f"    {of.published}",
        "  Establish a read-only connection: on",
        "",
        f"The lake itself, with a driver of DuckDB {of.duckdb}:",
        "  Database file: :memory:",
        "  Init SQL:",
        *_indented(of.sql(), 4),
        *_secrets("  #", of, where="in the environment of Metabase"),
    ]


def _r(of: Recipes) -> list[str]:
    statements = of.sql()
    quoted = [f'  r"---({each})---"' for each in statements]
    return [
        *_secrets("#", of),
        f'# install.packages("duckdb")  # of {of.duckdb}: packageVersion("duckdb")',
        "library(DBI)",
        "lake <- dbConnect(duckdb::duckdb())",
        "for (statement in c(",
        ",\n".join(quoted),
        ")) dbExecute(lake, statement)",
        'dbGetQuery(lake, "FROM daily_emotions LIMIT 5")',
        "",
        "# The published file, with any version:",
        f"# dbConnect(duckdb::duckdb(dbdir = {_double(of.published)}, read_only = TRUE))",
    ]


def _rill(of: Recipes) -> list[str]:
    return [
        "# connectors/duckdb.yaml: the published file, which Rill's own DuckDB reads whatever its version is",
        "type: connector",
        "driver: duckdb",
        "managed: true",
        "init_sql: |",
        f"  ATTACH {literal(of.published)} AS lake (READ_ONLY);",
        "",
        "# models/daily_emotions.yaml",
        "type: model",
        "materialize: true",
        "connector: duckdb",
        "sql: SELECT * FROM lake.daily_emotions",
        "",
        f"# The lake itself, where Rill comes with DuckDB {of.duckdb}: these lines below init_sql",
        *(f"#   {line}" for line in of.sql()),
        *_secrets("#", of, where="in the environment of Rill"),
    ]


def _evidence(of: Recipes) -> list[str]:
    return [
        "# sources/lake/connection.yaml: the published file, which Evidence's own DuckDB reads whatever its version",
        "name: lake",
        "type: duckdb",
        "options:",
        f"  filename: {_double(of.published)}",
        "",
        "# sources/lake/daily_emotions.sql",
        "SELECT * FROM daily_emotions",
        "",
        f"# The lake itself, where Evidence comes with DuckDB {of.duckdb}: filename: ':memory:', and in",
        "# sources/lake/initialize.sql",
        *(f"#   {line}" for line in of.sql()),
        *_secrets("#", of, where="in the environment of Evidence"),
    ]


def _executed(sql: str) -> str:
    return f"lake.execute({_double(sql)})"


def _secrets(comment: str, of: Recipes, where: str = "in the environment") -> list[str]:
    return [f"{comment} {', '.join(of.needs)} {where}: no secret is written here"] if of.needs else []


def _indented(lines: list[str], width: int) -> list[str]:
    return [f"{' ' * width}{line}" for line in lines]


def _double(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_TOOLS: dict[str, Callable[[Recipes], list[str]]] = {
    "python": _python,
    "duckdb": _duckdb,
    "dbeaver": _dbeaver,
    "metabase": _metabase,
    "r": _r,
    "rill": _rill,
    "evidence": _evidence,
}
