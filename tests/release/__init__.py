"""`make release-check`: is what would be published whole, and does it run where only it is installed?"""
