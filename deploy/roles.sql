-- Run once, by PostgreSQL's image, when the database is made. The service's login can add to the ledger and the audit trail and
-- change neither: it is no more than a member of the role that `quota migrate` gives its rights to.
\getenv password SERVICE_PASSWORD
CREATE ROLE quota_application NOLOGIN;
CREATE ROLE quota_service LOGIN PASSWORD :'password' IN ROLE quota_application;
