"""What several rooms speak of: it lies below them all and imports none of them."""
