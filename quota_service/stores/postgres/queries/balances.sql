-- name: values_of_window
-- The each values that have ever been charged in a budget's window of this start.
SELECT each_value FROM window_balances WHERE organization = $1 AND budget = $2 AND window_start = $3 ORDER BY each_value;
