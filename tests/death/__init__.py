"""Is a worker declared dead that lives, or not found that is dead? See __main__.py."""
