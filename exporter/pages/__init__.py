"""Results -> one page for people: what was measured, what follows from it, and how far it can be trusted.

`document` says what a page consists of, `compose` makes one of results (words in `words` and `advice`, numbers in
`tables`, drawings in `figures`), `html` and `markdown` write it. The same results give the same bytes.
"""
