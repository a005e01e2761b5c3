"""The DuckLake: connections, transactions, schema and queries."""
