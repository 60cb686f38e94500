"""Results -> one page for people: what was measured, what follows from it, and how far it can be trusted.

`document` defines the parts of a page, `compose` makes one of results (sentences in `phrasing` and `conclusions`,
numbers in `tables`, drawings in `figures`), `html` and `markdown` write it. The same results give the same bytes.
Imports core, benchmark and the published figures in models; verification (Markdown), api and cli import it.
"""
