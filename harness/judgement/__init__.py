"""From a claimed gradient and what the oracles say of it to a verdict on each tensor."""
