-- Copies the tables of a PostgreSQL catalog, with their keys, to a schema beside them.
CALL postgres_execute('server', '
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN
            SELECT table_name FROM information_schema.tables
            WHERE table_schema = current_schema() AND starts_with(table_name, ''ducklake_'')
        LOOP
            EXECUTE format(''CREATE TABLE {schema}.%1$I (LIKE %1$I INCLUDING ALL)'', name);
            EXECUTE format(''INSERT INTO {schema}.%1$I SELECT * FROM %1$I'', name);
        END LOOP;
    END
    $$
')
