-- Drops the copy of a PostgreSQL catalog.
CALL postgres_execute('server', 'DROP SCHEMA {schema} CASCADE')
