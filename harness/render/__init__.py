"""How a report looks: text for a terminal, data, and HTML. Each only reads `Report`."""
