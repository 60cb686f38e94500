"""Values that pass between rooms, errors, progress, files. Imports nothing else of slide_export."""
