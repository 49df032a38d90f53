"""Who is asked for scores: our models, other engines, any program; and scores that were kept."""
