"""The builder: what keeps segments and generations in order."""
