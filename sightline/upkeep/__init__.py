"""Use cases of an owner: doctor, consistency, repair, cache report."""
