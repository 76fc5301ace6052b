"""Central differences with bounds on their errors: steps, noise, blocks of entries that do not interact."""
