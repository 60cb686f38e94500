"""The verbs of the command line, by what they are for: each parses, calls the verb of `api` and prints."""
