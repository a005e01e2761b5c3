-- One row: how many cells the page gets with so many values of each dimension.
SELECT count(*) AS cells
FROM (SELECT DISTINCT period, model, dimension, value, role FROM report_cells WHERE dimension = '' OR place < $most_values)
