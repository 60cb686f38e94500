"""README and the manual: their commands are run, their names are held to the code's."""
