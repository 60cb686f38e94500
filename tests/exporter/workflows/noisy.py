"""A module that prints while it is imported, as vendors' do."""

print("loading")
