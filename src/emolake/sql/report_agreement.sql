-- One row per pair of models: how far they agree, the least agreeing first.
FROM model_agreement ORDER BY kappa NULLS LAST, model_a, model_b
