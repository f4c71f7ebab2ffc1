"""One module for each command. Each imports what it needs inside its function, so none slows the others."""
