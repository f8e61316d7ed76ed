"""What type checkers must accept of the public face, and what they must refuse."""
