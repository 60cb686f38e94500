"""Images, their preprocessing, and what is measured on them."""
