-- One row per role that a segment has, by any model.
SELECT DISTINCT role FROM report_cells WHERE role <> '*' ORDER BY role
