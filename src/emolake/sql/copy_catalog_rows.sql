-- Copies the rows of a table of a PostgreSQL catalog to the schema of the copy.
CALL postgres_execute('server', 'INSERT INTO {schema}.{table} SELECT * FROM {table}')
