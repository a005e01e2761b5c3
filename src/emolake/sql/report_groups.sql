-- One row per value of a dimension that the page has, by any model.
SELECT DISTINCT dimension, value FROM report_cells WHERE dimension <> '' AND place < $most_values ORDER BY ALL
