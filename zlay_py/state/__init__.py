"""All SQL: hosts, accounts, identities, domain bans, and the marks that say how far each projection is.

Owns: the schema and its migrations, the one database (embedded SQLite), which thread touches it, what is one
transaction, and what an error of the database means to the rest. Refuses to own: what the rows mean to the
protocol (`ingest`), which rows are cached (`ingest.accounts`, `identity.directory`), and events: those are the
log's, and what is here about them is caught up from it.
"""
