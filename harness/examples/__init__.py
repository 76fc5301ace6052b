"""From a spec to the cases that a layer is judged at: sizes, options, values, the points that random values do not visit."""
