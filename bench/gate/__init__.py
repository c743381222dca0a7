"""Two sides in adjacent pairs: the regression gate, its proof and the sweep."""
