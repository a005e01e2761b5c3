-- Takes the slot of a day: two transactions that do so conflict, and the second is made again.
UPDATE lake.guards SET commits = commits + 1 WHERE guard = $guard
