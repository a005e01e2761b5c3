-- Creates a table of a PostgreSQL catalog again, with its keys, in the schema of the copy.
CALL postgres_execute('server', 'CREATE TABLE {schema}.{table} (LIKE {table} INCLUDING ALL)')
