-- Forgets the rows that were kept aside.
DROP TABLE kept
