"""`quota replay`: a real trace of requests through Authorize, a wait and Commit, and checks afterwards."""
