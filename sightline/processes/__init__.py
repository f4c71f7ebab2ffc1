"""Long-running processes: started, watched and stopped."""
