"""The tables of a sweep's database: SQLite, which DuckDB and pandas read too.

`client`, `note` and `digest` are of the running sweep; all else is what a report is made of. Jobs lie in the order of
the plan, in which they run: those of one transaction share its pages, where rows by key would have one each.
"""

VERSION = 1

TABLES = """
CREATE TABLE artifact(sha256 TEXT PRIMARY KEY, kind TEXT NOT NULL, bytes INT NOT NULL, ephemeral INT NOT NULL)
  WITHOUT ROWID;
CREATE TABLE job(key TEXT PRIMARY KEY, stage TEXT NOT NULL, subject TEXT NOT NULL, class TEXT NOT NULL,
  spec TEXT NOT NULL, state TEXT NOT NULL CHECK(state IN('planned','running','done','refused','failed','poison',
  'blocked','cancelled')), exit_code INT, message TEXT, output TEXT REFERENCES artifact, result TEXT, seconds REAL);
CREATE TABLE edge(job TEXT NOT NULL REFERENCES job, needs TEXT NOT NULL REFERENCES job, PRIMARY KEY(job, needs))
  WITHOUT ROWID;
CREATE TABLE attempt(id INTEGER PRIMARY KEY, job TEXT NOT NULL REFERENCES job, client TEXT NOT NULL, worker TEXT,
  submitted REAL, ended REAL, outcome TEXT CHECK(outcome IN('done','refused','failed','crashed','timeout','died','lost',
  'mismatch','cancelled')), message TEXT, peak_mib REAL);
CREATE TABLE measure(job TEXT NOT NULL REFERENCES job, name TEXT NOT NULL, value REAL, low REAL, high REAL,
  PRIMARY KEY(job, name)) WITHOUT ROWID;
CREATE TABLE plan(id INTEGER PRIMARY KEY, text TEXT NOT NULL, sha256 TEXT NOT NULL, began REAL);
CREATE TABLE plan_job(plan INT NOT NULL REFERENCES plan, place INT NOT NULL, job TEXT NOT NULL REFERENCES job,
  PRIMARY KEY(plan, place)) WITHOUT ROWID;
CREATE TABLE finding(job TEXT NOT NULL REFERENCES job, name TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY(job, name)) WITHOUT ROWID;
CREATE TABLE client(one INTEGER PRIMARY KEY CHECK(one = 1), host TEXT NOT NULL, pid INT NOT NULL,
  started TEXT NOT NULL);
CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE digest(path TEXT NOT NULL, bytes INT NOT NULL, changed INT NOT NULL, sha256 TEXT NOT NULL,
  PRIMARY KEY(path, bytes, changed)) WITHOUT ROWID;
CREATE INDEX attempt_job ON attempt(job);
"""
