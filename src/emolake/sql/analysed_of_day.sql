-- How many recordings of a day a model has analysed; what is missing of such a day arrived late.
SELECT count(*) FROM lake.analyses WHERE date = $date AND model = $model
