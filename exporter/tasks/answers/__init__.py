"""What tasks make of answers: figures of their quality, choices among them, pictures."""
