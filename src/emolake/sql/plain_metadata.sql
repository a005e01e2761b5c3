-- One row: the format of a catalog that is read without DuckLake, and what made it.
SELECT
    max(value) FILTER (key = 'version') AS format,
    max(value) FILTER (key = 'created_by') AS made_by
FROM {schema}.ducklake_metadata
