-- Creates the schema that a copy of a PostgreSQL catalog lies in.
CALL postgres_execute('server', 'CREATE SCHEMA {schema}')
