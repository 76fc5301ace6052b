"""float32, bfloat16 and float16 beside the same numbers in the precision that a layer is judged in."""
