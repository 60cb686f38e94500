"""One package a target, named as the word after `--target`; `interface` says what a backend is."""
