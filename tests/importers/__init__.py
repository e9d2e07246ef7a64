"""Models of other notations, as hqc reads them."""
