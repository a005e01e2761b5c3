-- At most one row: the record of what one version of a model confuses.
SELECT reliability FROM lake.model_reliability WHERE model_fingerprint = $model_fingerprint
