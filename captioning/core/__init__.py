"""Types and helpers for all subpackages; ``core`` imports none of them."""
