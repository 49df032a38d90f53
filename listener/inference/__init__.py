"""Networks from verified bytes, and the detector that is built of them."""
