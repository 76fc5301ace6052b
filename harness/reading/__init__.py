"""How code and objects are read: what they are called, what they ask for, what they hold. No array is computed with here."""
