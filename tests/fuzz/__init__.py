"""Does one refused row hurt anything else? See __main__.py."""
