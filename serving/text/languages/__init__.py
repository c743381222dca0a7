"""Languages whose numbers, and the signs next to them, are written out, and no more; num2words has the words."""
