"""What travels between processes, and the one table of errors. Standard library only."""
