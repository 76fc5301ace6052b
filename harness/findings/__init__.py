"""What a FAIL tells: where, by how much, what it looks like, and a script that shows it."""
