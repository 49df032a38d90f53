"""What is fitted, tried and judged for `earmark doctor`."""
