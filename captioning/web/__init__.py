"""The page: captions of photographs in the browser, on this machine alone."""
