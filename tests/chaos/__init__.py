"""Break everything at random, then prove from the tables and a log that nothing was lost."""
