"""Evaluation of attribution by voice: from recordings of speakers to error rates and the report."""
