"""How a standalone script makes a layer, calls it and brings its generators to where the harness had them."""
