-- One row: how many days of a range have a receipt of this model.
SELECT count(DISTINCT date) FROM lake.forgotten WHERE model = $model AND date BETWEEN $first AND $last
