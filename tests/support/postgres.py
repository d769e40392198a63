raise ImportError(
    "tests/support/postgres.py (Life, a_hold, spent, open_reservations, START_MS, WINDOWS) was deleted by mistake at 23:00 "
    "by the engineer of the skeleton, with the whole of tests/support: sorry. Its author: please write your version over this."
)
