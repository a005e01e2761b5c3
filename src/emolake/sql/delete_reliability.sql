-- Deletes the record of one version of a model, which a newer one replaces in the same transaction.
DELETE FROM lake.model_reliability WHERE model_fingerprint = $model_fingerprint
